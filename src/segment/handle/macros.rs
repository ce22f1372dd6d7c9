//! Macros for handle types.

/// Implements `Clone`, `Debug`, `Serialize` and `Deserialize` for a handle type, without bounds on its parameters.
macro_rules! handle_type {
    ($name:ident $(<$($param:ident),+>)?) => {
        impl$(<$($param),+>)? Clone for $name$(<$($param),+>)? {
            /// Returns another reference to the object.
            fn clone(&self) -> Self {
                use $crate::segment::Object;
                Object::of(self.handle().clone(), self.count())
            }
        }
        impl$(<$($param),+>)? std::fmt::Debug for $name$(<$($param),+>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                use $crate::segment::Object;
                f.debug_struct(stringify!($name)).field("at", &self.handle().object()).finish_non_exhaustive()
            }
        }
        impl$(<$($param),+>)? serde::Serialize for $name$(<$($param),+>)? {
            fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                $crate::segment::serialize(self, false, serializer)
            }
        }
        impl<'de $($(, $param)+)?> serde::Deserialize<'de> for $name$(<$($param),+>)? {
            fn deserialize<Z: serde::Deserializer<'de>>(deserializer: Z) -> Result<Self, Z::Error> {
                $crate::segment::deserialize(false, deserializer)
            }
        }
    };
}
pub(crate) use handle_type;

/// Implements a handle type without parameters, with a field `handle`. Its kind has its name. `$locks` is the number of
/// locks after the object's own, `$bytes` the size of the object, and `$example` a name in `/dev/shm` for the examples.
macro_rules! unit_handle {
    ($name:ident, $locks:expr, $bytes:expr, $example:literal) => {
        $crate::segment::handle_type!($name);

        impl $crate::segment::Object for $name {
            const IN_PLACE: bool = false;

            fn spec(_: usize) -> Result<$crate::segment::Spec, $crate::SegmentError> {
                $crate::segment::Spec::of::<()>($crate::segment::Kind::$name, 1)
            }

            fn layout(_: usize) -> Option<$crate::segment::ObjectLayout> {
                Some($crate::segment::ObjectLayout { locks: $locks, bytes: $bytes })
            }

            fn of(handle: $crate::segment::Handle, _: usize) -> Self {
                $name { handle }
            }

            fn handle(&self) -> &$crate::segment::Handle {
                &self.handle
            }

            fn count(&self) -> usize {
                1
            }
        }

        impl $name {
            /// Creates one in anonymous shared memory.
            ///
            /// # Errors
            /// [`NoSpace`](crate::SegmentError::NoSpace).
            /// ```
            #[doc = concat!("assert!(crossproc::", stringify!($name), "::new().is_ok());")]
            /// ```
            pub fn new() -> Result<Self, $crate::SegmentError> {
                $crate::segment::create(1, |_| ())
            }

            /// Returns a builder for one that other programs find by name.
            /// ```
            #[doc = concat!("use crossproc::{", stringify!($name), ", SegmentError};")]
            #[doc = concat!("let ours = ", stringify!($name), "::named(\"", $example, "\").create()?;")]
            #[doc = concat!("let theirs = ", stringify!($name), "::named(\"", $example, "\").open()?;")]
            #[doc = concat!("let another = ", stringify!($name), "::named(\"", $example, "\").create();")]
            /// assert_eq!(another.unwrap_err(), SegmentError::AlreadyExists);
            /// # drop((ours, theirs));
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn named(name: &str) -> $crate::Named<Self> {
                $crate::Named::by(name)
            }

            /// Returns a builder for one at an offset of memory that the program owns.
            /// ```
            /// let memory = crossproc::Within::new(shared_memory::ShmemConf::new().size(65536).create().unwrap());
            #[doc = concat!("assert!(crossproc::", stringify!($name), "::within(&memory, 64).create().is_ok());")]
            /// ```
            #[cfg(feature = "shared_memory")]
            pub fn within(memory: &$crate::Within, offset: usize) -> $crate::Named<Self> {
                memory.at(offset)
            }
        }

        impl $crate::Named<$name> {
            /// Creates it. See [`Named`](crate::Named) for the errors.
            /// ```
            #[doc = concat!("assert!(crossproc::", stringify!($name), "::named(\"", $example, "-create\").create().is_ok());")]
            /// ```
            pub fn create(self) -> Result<$name, $crate::SegmentError> {
                self.create_object(1, |_| ())
            }

            /// Opens it, or creates it if it does not exist.
            /// ```
            #[doc = concat!("let name = \"", $example, "-either\";")]
            #[doc = concat!("let made = crossproc::", stringify!($name), "::named(name).open_or_create()?;")]
            #[doc = concat!("assert!(crossproc::", stringify!($name), "::named(name).open().is_ok());")]
            /// # drop(made);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn open_or_create(self) -> Result<$name, $crate::SegmentError> {
                self.open_or_create_object(|named| named.create_object(1, |_| ()))
            }
        }
    };
}
pub(crate) use unit_handle;

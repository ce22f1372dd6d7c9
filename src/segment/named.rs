//! Objects that other programs can find: by a name in `/dev/shm`, or at an offset of memory that the program owns.

use super::handle::handle::Handle;
use super::handle::object::Object;
use super::header::{Geometry, Header, write_header};
use super::kind::{ObjectLayout, Spec, type_hash};
use super::segment::{Backing, Segment, init_object};
use crate::SegmentError;
use crate::sys::shm_file::{self, Name, NamedFile};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Mutex;

/// Creates, opens or removes an object that other programs can find.
///
/// Returned by `Value::named`, `Array::named` and their counterparts for other types. Nothing happens before `create`,
/// `open`, `open_or_create` or [`remove`](Named::remove) is called.
///
/// The file is `/dev/shm/crossproc.NAME`. It appears with its content complete. It is removed when the last handle of
/// any process is dropped, unless it was created with [`persist`](Named::persist). If all processes that used it ended
/// without dropping their handles (killed, ended by `exit`, or with the handle in a static), the next `create` or
/// `open` by any program of this user removes it. Each open object takes a file descriptor and a mapping.
///
/// # Errors
/// Of `create`: [`AlreadyExists`](SegmentError::AlreadyExists), [`NoSpace`](SegmentError::NoSpace),
/// [`TooLarge`](SegmentError::TooLarge). Of `open`: [`NotFound`](SegmentError::NotFound),
/// [`WrongType`](SegmentError::WrongType), [`WrongSize`](SegmentError::WrongSize),
/// [`WrongVersion`](SegmentError::WrongVersion), [`WrongNamespace`](SegmentError::WrongNamespace),
/// [`WrongOwner`](SegmentError::WrongOwner), [`NotASegment`](SegmentError::NotASegment).
/// Of all: [`InvalidName`](SegmentError::InvalidName).
/// ```
/// use crossproc::{SegmentError, Value};
/// let made = Value::named("doc-named").create(1.5_f64)?;
/// assert_eq!(Value::named("doc-named").create(2.5_f64).unwrap_err(), SegmentError::AlreadyExists);
/// assert_eq!(Value::<f64>::named("doc-named").open()?.get(), 1.5);
/// assert_eq!(Value::<i64>::named("doc-named").open().unwrap_err(), SegmentError::WrongType);
/// drop(made);
/// assert_eq!(Value::<f64>::named("doc-named").open().unwrap_err(), SegmentError::NotFound);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[must_use = "nothing happens before `create`, `open`, `open_or_create` or `remove`"]
pub struct Named<H> {
    place: NamedPlace,
    mode: u32,
    persist: bool,
    tag: Option<String>,
    of: PhantomData<fn() -> H>,
}

#[derive(Clone, Debug)]
pub(crate) enum NamedPlace {
    File(Result<Name, SegmentError>),
    #[cfg(feature = "shared_memory")]
    Host(super::host::Host),
}

impl<H> std::fmt::Debug for Named<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Named").field("place", &self.place).field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl<H> Named<H> {
    pub(crate) fn by(name: &str) -> Self {
        Named::on(NamedPlace::File(Name::new(name)))
    }

    pub(crate) fn on(place: NamedPlace) -> Self {
        Named { place, mode: 0o600, persist: false, tag: None, of: PhantomData }
    }

    /// Sets the permission bits of the file, regardless of the umask. The default is 0600.
    ///
    /// This crate opens only files of its own user. With more permissions than 0600, programs of other users may read
    /// or write the bytes; if one of them shrinks the file, a reader gets `SIGBUS`. Objects that are used in place
    /// (`Array`) refuse a file that others may write with [`WrongOwner`](SegmentError::WrongOwner).
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    /// let _kept = crossproc::Value::named("doc-mode").mode(0o640).create(1u8)?;
    /// let file = std::fs::metadata("/dev/shm/crossproc.doc-mode").unwrap();
    /// assert_eq!(file.permissions().mode() & 0o777, 0o640);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the name of the type for the check by `open`, in place of Rust's name of it.
    ///
    /// Scalars and arrays of scalars are distinguished by kind and width, other types by size, alignment and name. Set
    /// a tag if two programs use one name for different types, or different names for one type.
    /// ```
    /// use crossproc::{SegmentError, Value};
    /// let _kept = Value::named("doc-tag").tag("point.v1").create([1.0f32, 2.0])?;
    /// assert_eq!(Value::<[f32; 2]>::named("doc-tag").open().unwrap_err(), SegmentError::WrongType);
    /// assert_eq!(Value::<[f32; 2]>::named("doc-tag").tag("point.v1").open()?.get(), [1.0, 2.0]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn tag(mut self, tag: &str) -> Self {
        self.tag = Some(tag.to_owned());
        self
    }

    /// Makes `create` create an object that stays without users, until [`remove`](Named::remove) or a restart of the
    /// machine.
    /// ```
    /// use crossproc::Value;
    /// drop(Value::named("doc-persist").persist().create(7u32)?);
    /// assert_eq!(Value::<u32>::named("doc-persist").open()?.get(), 7);
    /// Value::<u32>::named("doc-persist").remove()?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn persist(mut self) -> Self {
        self.persist = true;
        self
    }

    /// Removes the name, which can be used again at once. Programs that have the object open can continue to use it.
    ///
    /// # Errors
    /// [`NotFound`](SegmentError::NotFound), [`WrongOwner`](SegmentError::WrongOwner).
    /// ```
    /// use crossproc::{SegmentError, Value};
    /// let value = Value::named("doc-remove").create(7u32)?;
    /// Value::<u32>::named("doc-remove").remove()?;
    /// assert_eq!(value.get(), 7);
    /// assert_eq!(Value::<u32>::named("doc-remove").remove(), Err(SegmentError::NotFound));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn remove(self) -> Result<(), SegmentError> {
        match self.place {
            NamedPlace::File(name) => shm_file::remove(&name?),
            #[cfg(feature = "shared_memory")]
            NamedPlace::Host(_) => {
                Err(SegmentError::Invalid("an object in memory of the program has no name to remove".into()))
            }
        }
    }

    fn spec(&self, mut spec: Spec) -> Spec {
        if let Some(tag) = &self.tag {
            spec.type_hash = type_hash(tag);
        }
        spec
    }

    fn create_file(
        &self,
        name: &Name,
        spec: &Spec,
        layout: &ObjectLayout,
        in_place: bool,
        init: impl FnOnce(NonNull<u8>),
    ) -> Result<Segment, SegmentError> {
        if in_place && self.mode & 0o022 != 0 {
            return Err(SegmentError::WrongOwner);
        }
        shm_file::sweep(&stays);
        let geometry = Geometry::single(spec, layout)?;
        let fd = shm_file::unnamed(geometry.size as u64, self.mode & 0o777)?;
        let map = crate::sys::memory::map(&fd, geometry.size)?;
        let header = Header::new(&geometry, spec, layout.locks, self.persist)?;
        let base = NonNull::new(map.as_mut_ptr()).ok_or(SegmentError::NoSpace)?;
        write_header(base, &header);
        init_object(base, geometry.blocks_at, spec.kind, init);
        let mut fd = fd;
        let file = loop {
            match shm_file::publish(fd, name) {
                // A name that no process holds counts as free.
                Err((back, SegmentError::AlreadyExists)) if shm_file::remove_unused(name, &stays) => fd = back,
                other => break other.map_err(|(_, error)| error)?,
            }
        };
        Ok(Segment::new(map, header, geometry, Backing::Named(Mutex::new(file))))
    }
}

impl<H: Object> Named<H> {
    /// Opens the object with this name.
    ///
    /// # Errors
    /// See [`Named`]. An opened object has the kind, and its items the size, alignment and type, that its creator gave
    /// it.
    /// ```
    /// use crossproc::{SegmentError, Value};
    /// assert_eq!(Value::<u8>::named("doc-nothing").open().unwrap_err(), SegmentError::NotFound);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn open(self) -> Result<H, SegmentError> {
        self.open_object()
    }

    fn open_object(&self) -> Result<H, SegmentError> {
        let wanted = self.spec(H::spec(0)?);
        let segment = match &self.place {
            NamedPlace::File(name) => open_file(name.as_ref().map_err(Clone::clone)?, H::IN_PLACE)?,
            #[cfg(feature = "shared_memory")]
            NamedPlace::Host(host) => Segment::attach_in_host(host)?,
        };
        let found = segment.header.spec();
        wanted.check(&found)?;
        let count = usize::try_from(found.count).map_err(|_| SegmentError::TooLarge)?;
        let layout = H::layout(count).ok_or(SegmentError::TooLarge)?;
        if layout.bytes > segment.geometry.block_size || layout.locks != segment.header.locks as usize {
            return Err(SegmentError::WrongSize);
        }
        Ok(H::of(Handle::single(segment, layout.locks), count))
    }

    /// Creates the object. `init` fills its data, which is zero after the locks, before another process can see it.
    pub(crate) fn create_object(&self, count: usize, init: impl FnOnce(NonNull<u8>)) -> Result<H, SegmentError> {
        let spec = self.spec(H::spec(count)?);
        let layout = H::layout(count).ok_or(SegmentError::TooLarge)?;
        let segment = match &self.place {
            NamedPlace::File(name) => {
                self.create_file(name.as_ref().map_err(Clone::clone)?, &spec, &layout, H::IN_PLACE, init)?
            }
            #[cfg(feature = "shared_memory")]
            NamedPlace::Host(host) => Segment::create_in_host(host, &spec, &layout, init)?,
        };
        Ok(H::of(Handle::single(segment, layout.locks), count))
    }

    /// Opens the object, or creates it if it does not exist. Tries again if another program created it in the meantime.
    pub(crate) fn open_or_create_object(
        &self,
        create: impl Fn(&Self) -> Result<H, SegmentError>,
    ) -> Result<H, SegmentError> {
        loop {
            match self.open_object() {
                Err(SegmentError::NotFound) => {}
                other => return other,
            }
            match create(self) {
                Err(SegmentError::AlreadyExists) => {}
                other => return other,
            }
        }
    }
}

fn open_file(name: &Name, in_place: bool) -> Result<Segment, SegmentError> {
    shm_file::sweep(&stays);
    let file: NamedFile = shm_file::open(name, &stays)?;
    if in_place && file.is_writable_by_others() {
        return Err(SegmentError::WrongOwner);
    }
    let size = file.size()?;
    Segment::attach(Backing::Named(Mutex::new(file)), size)
}

/// Removes the names of this user that no process holds.
pub(crate) fn sweep_names() {
    shm_file::sweep(&stays);
}

/// Removes unused names, for frequent callers: if there are many names, most calls return at once.
pub(crate) fn sweep_names_now_and_then() {
    shm_file::sweep_now_and_then(&stays);
}

fn stays(head: &[u8]) -> bool {
    Header::stays(head)
}

//! Misuse that must not compile. Each block fails with the error number that it names.
//!
//! A `bool` is not `Pod`: the byte that a killed writer leaves in an array could be a 2.
//! ```compile_fail,E0277
//! let list = crossproc::Array::<bool>::zeroed(10);
//! let flags: crossproc::Array<bool> = crossproc::Array::from_slice(&[true]).unwrap();
//! ```
//!
//! Another program may write any bytes into a named value, so a named value cannot hold an enum.
//! ```compile_fail,E0277
//! use crossproc::{CheckedBitPattern, NoUninit, Value};
//! #[derive(Clone, Copy, NoUninit, CheckedBitPattern)]
//! #[bytemuck(crate = "crossproc::bytemuck")]
//! #[repr(u8)]
//! enum State { Idle, Busy }
//! let named = Value::<State>::named("state");
//! ```
//!
//! Padding bytes are never initialised.
//! ```compile_fail,E0512
//! use crossproc::{Pod, Value, Zeroable};
//! #[derive(Clone, Copy, Pod, Zeroable)]
//! #[bytemuck(crate = "crossproc::bytemuck")]
//! #[repr(C)]
//! struct Padded { small: u8, large: u64 }
//! let value = Value::new(Padded { small: 1, large: 2 });
//! ```
//!
//! The layout of a tuple is not specified.
//! ```compile_fail,E0277
//! let value = crossproc::Value::new((1u8, 2u32));
//! ```
//!
//! A guard is not a `Message`.
//! ```compile_fail,E0277
//! let (here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
//! let value = crossproc::Value::new(1).unwrap();
//! crossproc::transfer::send(&here, &value.lock().unwrap()).unwrap();
//! ```
//!
//! A guard does not outlive its handle.
//! ```compile_fail,E0505
//! let array = crossproc::Array::<u8>::zeroed(1).unwrap();
//! let guard = array.lock().unwrap();
//! drop(array);
//! drop(guard);
//! ```
//!
//! A guard that is dropped at once protects nothing.
//! ```compile_fail
//! #![deny(unused_must_use)]
//! let lock = crossproc::Lock::new().unwrap();
//! lock.lock().unwrap();
//! ```
//!
//! A function must take as many arguments as the tuple has.
//! ```compile_fail,E0277
//! fn two(a: i32, b: i32) {}
//! let child = crossproc::Process::spawn(two, (1,));
//! ```
//!
//! A `&str` is not a `String`, and a single argument is passed as a tuple of one.
//! ```compile_fail,E0277
//! fn hello(name: String) {}
//! let child = crossproc::Process::spawn(hello, ("bob",));
//! ```
//! ```compile_fail,E0277
//! fn hello(name: String) {}
//! let child = crossproc::Process::spawn(hello, "bob".to_string());
//! ```
//!
//! A reference cannot be sent to another process.
//! ```compile_fail,E0277
//! fn use_it(value: &'static crossproc::Value<i32>) {}
//! let value: &'static crossproc::Value<i32> = Box::leak(Box::new(crossproc::Value::new(1).unwrap()));
//! let child = crossproc::Process::spawn(use_it, (value,));
//! ```
//!
//! Nor can a guard.
//! ```compile_fail,E0277
//! fn use_it(guard: crossproc::ValueGuard<'static, i32>) {}
//! let value: &'static crossproc::Value<i32> = Box::leak(Box::new(crossproc::Value::new(0).unwrap()));
//! let child = crossproc::Process::spawn(use_it, (value.lock().unwrap(),));
//! ```
//!
//! A closure must not capture: neither by reference nor by move.
//! ```compile_fail,E0277
//! let value = crossproc::Value::new(0).unwrap();
//! let child = crossproc::Process::spawn(|| value.set(1), ());
//! ```
//! ```compile_fail,E0277
//! let value = crossproc::Value::new(0).unwrap();
//! let child = crossproc::Process::spawn(move || value.set(1).unwrap(), ());
//! ```
//!
//! An error that is not a `Message` cannot be returned to the parent; its text can.
//! ```compile_fail,E0277
//! fn child() -> Result<(), std::io::Error> { Ok(()) }
//! let child = crossproc::Process::spawn(child, ());
//! ```
//!
//! A child is joined at most once.
//! ```compile_fail,E0382
//! let child = crossproc::Process::spawn(|| (), ()).unwrap();
//! child.join().unwrap();
//! println!("{:?}", child.exit_code());
//! ```

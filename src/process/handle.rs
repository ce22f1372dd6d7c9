//! `Process`: a handle on a child.

use super::child_record::{ChildEnd, ChildRecord};
use super::protocol::{ChildFailure, ChildReport};
use super::registry;
use crate::entry::Panic;
use crate::sys::pidfd::Signal;
use crate::sys::{AsFd, BorrowedFd, Deadline};
use crate::{JoinError, Message};
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A child process that runs a function, and the way to its result.
///
/// ```
/// use crossproc::{Process, Value};
/// fn add(total: Value<u64>, n: u64) -> crossproc::Result<u64> {
///     *total.lock()? += n; // in place: the parent sees it
///     Ok(n * n)
/// }
/// let total = Value::new(40)?;
/// let child = Process::spawn(add, (total.clone(), 2))?;
/// assert_eq!(child.join()??, 4);
/// assert_eq!(total.get(), 42);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// The child is forked from a helper process, which is this program, executed once, with a single thread. So it
/// inherits neither threads, nor locks, nor the values of statics, nor open files. It gets its arguments, and from its
/// caller: working directory, environment, umask, limits, processors, standard output and standard error. Its standard
/// input is `/dev/null`, and its signals have their default actions. Children can be started from any thread, and in a
/// child.
///
/// A handle that is dropped leaves the child running; the child is joined when this process ends by `exit` or at the
/// end of `main`, as in Python. A daemon ends with this process instead: at an orderly end it gets SIGTERM, and is
/// killed a second later.
///
/// The child returns its result through a descriptor, and another one ends a daemon when its parent is killed. A child
/// that closes descriptors which it has not opened loses both: its result is then [`JoinError::Exited`], with a line on
/// its standard error. A daemon that executes another program is a daemon no longer.
///
/// # When a process dies
/// The child: [`join`](Process::join) reports how, at once. This process: the kernel kills its daemons; other children
/// continue, and those whose `spawn` has returned run in any case. The helper: children do not notice, and the next
/// spawn starts another helper.
///
/// From the first spawn on, the system shows two more processes beside the program's children: the helper
/// (`crossproc-srv`), and one child that waits for the next spawn (`crossproc-next`).
pub struct Process<R = ()> {
    record: Arc<ChildRecord>,
    taken: bool,
    of: PhantomData<fn() -> R>,
}

impl<R> std::fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("daemon", &self.is_daemon())
            .field("exit_code", &self.exit_code())
            .finish()
    }
}

impl<R> Process<R> {
    pub(super) fn of(record: Arc<ChildRecord>) -> Self {
        Process { record, taken: false, of: PhantomData }
    }

    /// The process id.
    ///
    /// ```
    /// let child = crossproc::Process::spawn(std::process::id, ())?;
    /// assert_eq!(child.id(), child.join()?);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn id(&self) -> u32 {
        self.record.pid
    }

    /// The name: by default `Process-1` for this process's first child, `Process-1:2` for that child's second.
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| (), ())?;
    /// assert!(child.name().starts_with("Process-"));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Whether it ends with this process.
    ///
    /// ```
    /// assert!(!crossproc::Process::spawn(|| (), ())?.is_daemon());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_daemon(&self) -> bool {
        self.record.daemon
    }

    /// Whether it is running.
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| loop { std::thread::park() }, ())?;
    /// assert!(child.is_alive());
    /// child.kill()?;
    /// child.wait();
    /// assert!(!child.is_alive());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_alive(&self) -> bool {
        self.record.ended().is_none()
    }

    /// `None` while it runs, then its exit code from 0 to 255, or minus the signal that killed it. 101 is a panic, -6 a
    /// panic in a program that was built with `panic = "abort"`. 255 also stands for an unknown code
    /// ([`JoinError::Lost`]).
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| std::process::exit(256 + 3), ())?;
    /// child.wait();
    /// assert_eq!(child.exit_code(), Some(3));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn exit_code(&self) -> Option<i32> {
        self.record.ended().map(|end| end.code)
    }

    /// Waits for its end, and returns the exit code. Can be called many times, from any thread.
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| std::process::abort(), ())?;
    /// assert_eq!((child.wait(), child.wait()), (-6, -6));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait(&self) -> i32 {
        let end = self.record.wait_forever();
        registry::remove(&self.record);
        end.code
    }

    /// Waits for its end, at most for `duration`. Returns the exit code; `None` if the child is still running.
    ///
    /// ```
    /// use std::time::Duration;
    /// let child = crossproc::Process::spawn(|| loop { std::thread::park() }, ())?;
    /// assert_eq!(child.wait_timeout(Duration::from_millis(10)), None);
    /// child.terminate()?;
    /// assert_eq!(child.wait_timeout(Duration::from_secs(60)), Some(-15));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait_timeout(&self, duration: Duration) -> Option<i32> {
        let end = self.record.wait(Some(Deadline::after(duration)))?;
        registry::remove(&self.record);
        Some(end.code)
    }

    /// Asks the child to end (SIGTERM). Does nothing if it has ended.
    ///
    /// # Errors
    /// The system's error: the child now runs as another user.
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| loop { std::thread::park() }, ())?;
    /// child.terminate()?;
    /// assert_eq!(child.wait(), -15);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn terminate(&self) -> io::Result<()> {
        self.record.signal(Signal::Terminate)
    }

    /// Kills the child (SIGKILL). Does nothing if it has ended.
    ///
    /// # Errors
    /// See [`terminate`](Process::terminate).
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| loop { std::thread::park() }, ())?;
    /// child.kill()?;
    /// assert_eq!(child.wait(), -9);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.record.signal(Signal::Kill)
    }

    /// Detaches the child: this process does not wait for it at its own end. The child is still reaped.
    ///
    /// ```
    /// crossproc::Process::spawn(|| (), ())?.detach();
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn detach(self) {
        self.record.detach();
        registry::reap_in_background(self.record);
    }
}

impl<R: Message> Process<R> {
    /// Waits for the end of the child, and returns what the function returned.
    ///
    /// # Errors
    /// [`JoinError`]. A child that ends itself with `exit` has no result, also with code 0.
    ///
    /// ```
    /// use crossproc::{JoinError, Process};
    /// assert_eq!(Process::spawn(|| "done".to_string(), ())?.join()?, "done");
    /// match Process::spawn(|| panic!("boom"), ())?.join() {
    ///     Err(JoinError::Panicked { message, location, .. }) => {
    ///         assert_eq!(message, "boom");
    ///         assert!(location.is_some());
    ///     }
    ///     other => unreachable!("{other:?}"),
    /// }
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn join(mut self) -> Result<R, JoinError> {
        let end = self.record.wait_forever();
        self.conclude(end)
    }

    /// Waits for the end of the child, at most for `duration`. `Ok(None)` if it is still running. The result is
    /// returned once: [`Taken`](JoinError::Taken) afterwards.
    ///
    /// # Errors
    /// See [`join`](Process::join).
    ///
    /// ```
    /// use crossproc::{JoinError, Process};
    /// use std::time::Duration;
    /// let mut child = Process::spawn(|| 5, ())?;
    /// assert_eq!(child.join_timeout(Duration::from_secs(60)), Ok(Some(5)));
    /// assert_eq!(child.join_timeout(Duration::ZERO), Err(JoinError::Taken));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn join_timeout(&mut self, duration: Duration) -> Result<Option<R>, JoinError> {
        if self.taken {
            return Err(JoinError::Taken);
        }
        match self.record.wait(Some(Deadline::after(duration))) {
            None => Ok(None),
            Some(end) => self.conclude(end).map(Some),
        }
    }

    fn conclude(&mut self, end: ChildEnd) -> Result<R, JoinError> {
        registry::remove(&self.record);
        if std::mem::replace(&mut self.taken, true) {
            return Err(JoinError::Taken);
        }
        match self.record.take_report() {
            Some(ChildReport::Failed(failure)) => Err(failure.into()),
            Some(ChildReport::Returned(result)) if end.code == 0 || end.lost => {
                result.decode().map_err(JoinError::Decode)
            }
            other => {
                if let Some(ChildReport::Returned(result)) = other {
                    result.discard(); // the child failed after its function had returned
                }
                Err(match end {
                    ChildEnd { lost: true, .. } => JoinError::Lost,
                    ChildEnd { code, .. } if code < 0 => JoinError::Signaled(-code),
                    ChildEnd { code, .. } => JoinError::Exited(code),
                })
            }
        }
    }
}

impl From<ChildFailure> for JoinError {
    fn from(failure: ChildFailure) -> Self {
        match failure {
            ChildFailure::Panicked(Panic { message, location, backtrace }) => {
                JoinError::Panicked { message, location, backtrace }
            }
            ChildFailure::Codec(error) => JoinError::Decode(error),
            ChildFailure::Os(error) => JoinError::Os(error),
        }
    }
}

/// Readable when the child has ended.
impl<R> AsFd for Process<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.record.pidfd.as_fd()
    }
}

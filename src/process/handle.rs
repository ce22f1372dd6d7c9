//! `Process`: a handle on a child.

use super::builder::ProcessBuilder;
use super::child_record::{End, Life};
use super::protocol::{Failure, Panic, Report};
use super::registry;
use crate::entry::{Entry, captures_nothing};
use crate::sys::pidfd::Signal;
use crate::sys::{AsFd, BorrowedFd, Deadline};
use crate::{JoinError, Message, SpawnError};
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
/// The child is forked from a helper process that is this program, executed once, with one thread: it inherits neither
/// threads, nor locks, nor the values of statics, nor open files. It gets its arguments, and from its caller: working
/// directory, environment, umask, limits, processors, standard output and error. Its standard input is `/dev/null`, its
/// signals have their default actions. It works from any thread, and in a child.
///
/// A handle that is dropped leaves the child running; it is joined when this process ends by `exit` or by the end of
/// `main`, as in Python. A daemon ends with this process instead: at an end in order it is asked to (SIGTERM) and killed a second
/// later.
///
/// The way back to the parent is a descriptor in the child, and so is what ends a daemon with a parent that is killed. A child
/// that closes descriptors which it has not opened loses both: its result is then [`JoinError::Exited`] with a line on its
/// standard error. One that executes another program is a daemon no longer.
///
/// # When a process dies
/// The child: [`join`](Process::join) tells how, at once. This process: its daemons are killed by the kernel, whatever killed
/// it; other children go on, and those whose `spawn` had returned run in any case. The helper: children notice nothing, and
/// the next spawn starts another.
///
/// Beside the children that a program asked for, the system shows two more, from the first spawn on: the helper
/// (`crossproc-srv`), and one child that waits for the next order (`crossproc-next`).
pub struct Process<R = ()> {
    life: Arc<Life>,
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

impl Process {
    /// Runs `f(args..)` in a new process.
    ///
    /// The arguments are a tuple: `(x,)` for one, `()` for none.
    ///
    /// # Errors
    /// [`SpawnError`]: nothing was started then. A child that starts and cannot decode its arguments says so at
    /// [`join`](Process::join).
    ///
    /// ```
    /// use crossproc::Process;
    /// let child = Process::spawn(|base: u64, power: u32| base.pow(power), (2, 10))?;
    /// assert_eq!(child.join()?, 1024);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn spawn<A: Message, M, F: Entry<A, M>>(f: F, args: A) -> Result<Process<F::Output>, SpawnError> {
        const { captures_nothing::<F>() };
        Process::builder().spawn(f, args)
    }

    /// A child with a name, as a daemon, with other streams or variables.
    ///
    /// ```
    /// use crossproc::Process;
    /// let child = Process::builder().name("liangxue").daemon(true).spawn(|| std::process::id(), ())?;
    /// assert_eq!((child.name(), child.is_daemon()), ("liangxue", true));
    /// assert_eq!(child.id(), child.join()?);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::new()
    }
}

impl<R> Process<R> {
    pub(super) fn of(life: Arc<Life>) -> Self {
        Process { life, taken: false, of: PhantomData }
    }

    /// The process number.
    ///
    /// ```
    /// let child = crossproc::Process::spawn(std::process::id, ())?;
    /// assert_eq!(child.id(), child.join()?);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn id(&self) -> u32 {
        self.life.pid
    }

    /// The name: `Process-1` for this process's first child, `Process-1:2` for that one's second, unless told otherwise.
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| (), ())?;
    /// assert!(child.name().starts_with("Process-"));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.life.name
    }

    /// Whether it ends with this process.
    ///
    /// ```
    /// assert!(!crossproc::Process::spawn(|| (), ())?.is_daemon());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_daemon(&self) -> bool {
        self.life.daemon
    }

    /// Whether it runs still.
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
        self.life.ended().is_none()
    }

    /// None while it runs, then its exit code from 0 to 255, or minus the signal that killed it. 101 is a panic, -6 one in a program that
    /// was built with `panic = "abort"`; 255 also
    /// stands for a code that nobody knows ([`JoinError::Lost`]).
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| std::process::exit(256 + 3), ())?;
    /// child.wait();
    /// assert_eq!(child.exit_code(), Some(3));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn exit_code(&self) -> Option<i32> {
        self.life.ended().map(|end| end.code)
    }

    /// Waits for its end, and gives the exit code; as often as asked, from any thread.
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| std::process::abort(), ())?;
    /// assert_eq!((child.wait(), child.wait()), (-6, -6));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait(&self) -> i32 {
        let end = self.life.wait_for_good();
        registry::remove(&self.life);
        end.code
    }

    /// The same, for that long at most; none if it still runs then.
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
        let end = self.life.wait(Some(Deadline::after(duration)))?;
        registry::remove(&self.life);
        Some(end.code)
    }

    /// Asks it to end (SIGTERM). If it has, nothing happens.
    ///
    /// # Errors
    /// What the system says: the child runs as another user by now.
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| loop { std::thread::park() }, ())?;
    /// child.terminate()?;
    /// assert_eq!(child.wait(), -15);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn terminate(&self) -> io::Result<()> {
        self.life.signal(Signal::Terminate)
    }

    /// Kills it (SIGKILL). If it has ended, nothing happens.
    ///
    /// # Errors
    /// As for [`terminate`](Process::terminate).
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| loop { std::thread::park() }, ())?;
    /// child.kill()?;
    /// assert_eq!(child.wait(), -9);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.life.signal(Signal::Kill)
    }

    /// Gives the child up: this process does not wait for it at its own end. It is reaped all the same.
    ///
    /// ```
    /// crossproc::Process::spawn(|| (), ())?.detach();
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn detach(self) {
        self.life.detach();
        registry::reap_in_background(self.life);
    }
}

impl<R: Message> Process<R> {
    /// Waits for its end, and gives what the function returned.
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
        let end = self.life.wait_for_good();
        self.conclude(end)
    }

    /// The same, for that long at most; `Ok(None)` if it still runs then. The result is given out once:
    /// [`Taken`](JoinError::Taken) afterwards.
    ///
    /// # Errors
    /// As [`join`](Process::join).
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
        match self.life.wait(Some(Deadline::after(duration))) {
            None => Ok(None),
            Some(end) => self.conclude(end).map(Some),
        }
    }

    fn conclude(&mut self, end: End) -> Result<R, JoinError> {
        registry::remove(&self.life);
        if std::mem::replace(&mut self.taken, true) {
            return Err(JoinError::Taken);
        }
        match self.life.take_report() {
            Some(Report::Failed(failure)) => Err(failure.into()),
            Some(Report::Returned(result)) if end.code == 0 || end.lost => result.decode().map_err(JoinError::Decode),
            other => {
                if let Some(Report::Returned(result)) = other {
                    result.discard(); // it ended badly behind its function
                }
                Err(match end {
                    End { lost: true, .. } => JoinError::Lost,
                    End { code, .. } if code < 0 => JoinError::Signaled(-code),
                    End { code, .. } => JoinError::Exited(code),
                })
            }
        }
    }
}

impl From<Failure> for JoinError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Panicked(Panic { message, location, backtrace }) => {
                JoinError::Panicked { message, location, backtrace }
            }
            Failure::Codec(error) => JoinError::Decode(error),
            Failure::Os(error) => JoinError::Os(error),
        }
    }
}

/// Readable when the child has ended.
impl<R> AsFd for Process<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.life.pidfd.as_fd()
    }
}

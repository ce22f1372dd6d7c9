//! `ProcessBuilder`: name, streams and variables of a child.

use super::fork_server_client::{self, ChildSpec, StartMethod};
use super::handle::Process;
use super::{current, startup};
use crate::entry::{Code, Entry, captures_nothing};
use crate::segment::transfer::{self, EncodedMessage};
use crate::sys::OwnedFd;
use crate::sys::attributes;
use crate::sys::stdio;
use crate::{Message, SpawnError};
use std::ffi::{OsStr, OsString};

/// A standard stream of a child.
///
/// ```
/// use crossproc::{Process, Stdio};
/// use std::io::Read;
/// let (mut reader, writer) = std::io::pipe()?;
/// let child = Process::builder().stdout(writer).stderr(Stdio::null()).spawn(|| println!("hello"), ())?;
/// child.join()?;
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "hello\n");
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(Debug)]
pub struct Stdio(StdioKind);

#[derive(Debug)]
enum StdioKind {
    Inherit,
    Null,
    Fd(OwnedFd),
}

impl Stdio {
    /// The stream of this process.
    ///
    /// ```
    /// let child = crossproc::Process::builder().stdin(crossproc::Stdio::inherit()).spawn(|| (), ())?;
    /// child.join()?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn inherit() -> Self {
        Stdio(StdioKind::Inherit)
    }

    /// `/dev/null`.
    ///
    /// ```
    /// let child = crossproc::Process::builder().stdout(crossproc::Stdio::null()).spawn(|| println!("lost"), ())?;
    /// child.join()?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn null() -> Self {
        Stdio(StdioKind::Null)
    }

    /// The descriptor to send; `None` for null, and for a stream that this process has closed.
    fn open(self, number: i32) -> std::io::Result<Option<OwnedFd>> {
        match self.0 {
            StdioKind::Inherit => stdio::standard_stream(number),
            StdioKind::Null => Ok(None),
            StdioKind::Fd(fd) => Ok(Some(fd)),
        }
    }
}

impl<T: Into<OwnedFd>> From<T> for Stdio {
    fn from(fd: T) -> Self {
        Stdio(StdioKind::Fd(fd.into()))
    }
}

impl Process {
    /// Runs `f(args..)` in a new process.
    ///
    /// The arguments are a tuple: `(x,)` for one, `()` for none.
    ///
    /// # Errors
    /// [`SpawnError`]: no child was started. A child that cannot decode its arguments reports that at
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

    /// Returns a builder: for a child with a name, as a daemon, with other streams or variables.
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

/// Configures a child. Created by [`Process::builder`].
///
/// ```
/// use crossproc::Process;
/// let builder = Process::builder().name("greeter").env("GREETING", "hello");
/// assert_eq!(builder.spawn(|| std::env::var("GREETING").unwrap(), ())?.join()?, "hello");
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is started before `spawn`"]
pub struct ProcessBuilder {
    name: Option<String>,
    daemon: bool,
    bound: bool,
    method: StartMethod,
    environment: Vec<(OsString, OsString)>,
    streams: [Stdio; 3],
}

impl ProcessBuilder {
    pub(super) fn new() -> Self {
        ProcessBuilder {
            name: None,
            daemon: false,
            bound: false,
            method: StartMethod::default(),
            environment: Vec::new(),
            streams: [Stdio::null(), Stdio::inherit(), Stdio::inherit()],
        }
    }

    /// Sets the name; by default `Process-N`. The system shows its first 15 bytes.
    ///
    /// ```
    /// let child = crossproc::Process::builder().name("worker").spawn(|| (), ())?;
    /// assert_eq!(child.name(), "worker");
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets whether the child ends with this process, also when this process is killed. Such a child must not have
    /// children.
    ///
    /// ```
    /// let child = crossproc::Process::builder().daemon(true).spawn(|| crossproc::current().is_daemon(), ())?;
    /// assert!(child.join()?);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn daemon(mut self, yes: bool) -> Self {
        self.daemon = yes;
        self
    }

    /// Sets whether it ends with this process as a daemon does, although it may have children.
    pub(crate) fn bound(mut self, yes: bool) -> Self {
        self.bound = yes;
        self
    }

    /// Sets how the child is started. Where the system cannot fork from a server, every child is executed.
    ///
    /// ```
    /// use crossproc::{Process, StartMethod};
    /// let child = Process::builder().start_method(StartMethod::Spawn).spawn(|| 1, ())?;
    /// assert_eq!(child.join()?, 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = method;
        self
    }

    /// Sets an environment variable.
    ///
    /// ```
    /// let child = crossproc::Process::builder().env("COLOR", "red").spawn(|| std::env::var("COLOR").ok(), ())?;
    /// assert_eq!(child.join()?.as_deref(), Some("red"));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((key.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Sets the standard input; by default `/dev/null`.
    ///
    /// ```
    /// use std::io::Write;
    /// let (reader, mut writer) = std::io::pipe()?;
    /// writer.write_all(b"typed\n")?;
    /// let child = crossproc::Process::builder().stdin(reader).spawn(|| std::io::stdin().lines().next().unwrap().unwrap(), ())?;
    /// assert_eq!(child.join()?, "typed");
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn stdin(self, to: impl Into<Stdio>) -> Self {
        self.stream(0, to.into())
    }

    /// Sets the standard output; by default that of this process. See [`Stdio`].
    ///
    /// ```
    /// let file = std::fs::File::create("/dev/null")?;
    /// crossproc::Process::builder().stdout(file).spawn(|| println!("lost"), ())?.join()?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn stdout(self, to: impl Into<Stdio>) -> Self {
        self.stream(1, to.into())
    }

    /// Sets the standard error; by default that of this process. See [`Stdio`].
    ///
    /// ```
    /// let quiet = crossproc::Process::builder().stderr(crossproc::Stdio::null());
    /// assert!(quiet.spawn(|| panic!("not shown"), ())?.join().is_err());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn stderr(self, to: impl Into<Stdio>) -> Self {
        self.stream(2, to.into())
    }

    fn stream(mut self, number: usize, to: Stdio) -> Self {
        self.streams[number] = to;
        self
    }

    /// Starts the child. See [`Process::spawn`].
    ///
    /// # Errors
    /// See [`Process::spawn`].
    ///
    /// ```
    /// assert_eq!(crossproc::Process::builder().spawn(|n: u8| n + 1, (1,))?.join()?, 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn spawn<A: Message, M, F: Entry<A, M>>(self, f: F, args: A) -> Result<Process<F::Output>, SpawnError> {
        const { captures_nothing::<F>() };
        check()?;
        let code = Code::of(f)?;
        let packed = transfer::encode(&args).map_err(SpawnError::Encode)?;
        self.start(code, packed)
    }

    /// The part that does not depend on the types.
    fn start<R>(self, code: Code, packed: EncodedMessage) -> Result<Process<R>, SpawnError> {
        for (name, value) in &self.environment {
            attributes::check_variable(name, value)?;
        }
        let mut streams = [const { None }; 3];
        for ((number, stream), to) in (0..).zip(self.streams).zip(&mut streams) {
            *to = stream.open(number)?;
        }
        let identity = current::next_identity(self.name, self.daemon, self.bound);
        let spec = ChildSpec { code, identity, environment: self.environment, streams, method: self.method };
        Ok(Process::of(fork_server_client::spawn_child(spec, packed)?))
    }
}

/// Whether this process may have children.
pub(crate) fn check() -> Result<(), SpawnError> {
    if current::is_daemon() {
        return Err(SpawnError::DaemonChild);
    }
    startup::check()
}

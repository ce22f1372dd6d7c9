//! How processes begin and end.
//!
//! A fork server is this program, executed anew with its socket as the standard input. It makes children with a raw
//! `clone(CLONE_PARENT)`, so that they are children of its own parent: who waits, whose child dies, what the exit code is,
//! all that is the kernel's own, also when the server is killed.
//!
//! A raw `clone` goes past libc, which keeps the thread's number and the head of its robust list. The kernel writes the
//! child's number to the place that libc gave it (`PR_GET_TID_ADDRESS`), and the child registers its list anew.

use super::pidfd::PidFd;
use super::socket::Link;
use super::{attributes, image, syscall};
use crate::Os;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// What a re-executed program is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Child,
}

const ROLE: &std::ffi::CStr = c"CROSSPROC_ROLE";

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Child => "child",
        }
    }

    /// The role that this process was started in, with its socket. The variable is gone afterwards.
    pub(crate) fn take() -> Option<(Self, Link)> {
        let word = image::variable(ROLE)?;
        let role = [Role::Server, Role::Child].into_iter().find(|role| role.word() == word)?;
        // A number above those of the standard streams, which are to be others.
        let fd = syscall!(libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3)).ok()?;
        // SAFETY: a fresh descriptor that nobody else owns.
        let link = Link::of(unsafe { OwnedFd::from_raw_fd(fd) })?;
        // SAFETY: before `main` or at its begin, with one thread.
        unsafe { libc::unsetenv(ROLE.as_ptr()) };
        Some((role, link))
    }
}

/// Whether this process was started in a role that it has not taken.
pub(crate) fn has_role() -> bool {
    std::env::var_os(ROLE.to_str().unwrap_or_default()).is_some()
}

/// Executes this program anew, with the same arguments, in a role, and with a socket. Gives the number of the new process.
pub(crate) fn execute_self(role: Role, link: Link) -> io::Result<u32> {
    let mut command = Command::new("/proc/self/exe");
    let mut args = std::env::args_os();
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args);
    command.stdin(link.into_fd()).stdout(Stdio::null()).stderr(Stdio::null());
    if role == Role::Server {
        command.process_group(0); // what the terminal sends to the program's group is not for it
    }
    let own_variables = |command: &mut Command| {
        command.env(ROLE.to_str().unwrap_or_default(), role.word());
        if role == Role::Server {
            // Functions of libraries are found now, once, and not by each child anew, which costs a tenth of its life.
            command.env("LD_BIND_NOW", "1");
        }
    };
    own_variables(&mut command);
    // Without a function to run before exec, std does this by `posix_spawn`, which costs the same from a large parent.
    let spawned = command.spawn().or_else(|error| match error.raw_os_error() {
        // More environment than the system passes on. The order brings it; until then loaders and runtimes have what is short.
        Some(libc::E2BIG) => {
            let mut room = MOST_VARIABLES;
            let short = std::env::vars_os().filter(|(name, value)| {
                let length = name.len() + value.len();
                let fits = length < LONGEST_VARIABLE && length < room;
                room -= if fits { length } else { 0 };
                fits
            });
            command.env_clear().envs(short);
            own_variables(&mut command);
            command.spawn()
        }
        _ => Err(error),
    });
    Ok(spawned?.id())
}

/// Bytes of environment that the system passes on in any case.
const MOST_VARIABLES: usize = 64 << 10;
const LONGEST_VARIABLE: usize = 4 << 10;

/// The signals that this process ignores, of which a fresh program has no handlers: bit `n - 1` for signal `n`.
static IGNORED: AtomicU64 = AtomicU64::new(0);

/// Finds out once what children would have to find out each.
fn note_ignored_signals() {
    for signal in 1..=64 {
        // SAFETY: plain data, for which zeros are valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: a valid place; numbers that are no signals, and those of libc's own, are refused.
        let known = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) } == 0;
        if known && action.sa_sigaction == libc::SIG_IGN {
            IGNORED.fetch_or(1 << (signal - 1), Relaxed);
        }
    }
}

/// In a server: apart from the program that it came from.
pub(crate) fn settle_server(link: &Link) -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE, libc::SIGQUIT, libc::SIGTSTP] {
        // SAFETY: no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    note_ignored_signals();
    // One that is sent to a child right behind the spawn waits until the child does not ignore it any more.
    block_signals();
    set_name("crossproc-srv"); // in place of the name of the link by which it was executed
    attributes::raise_descriptor_limit();
    null_standard_streams()?;
    close_all_but(&[super::as_number(link)]);
    // The folder that it was started in may be unmounted.
    let _ = std::env::set_current_dir("/");
    Ok(())
}

/// In a server: the process that made the link, if it is its parent still.
pub(crate) fn parent_of(link: &Link) -> Option<PidFd> {
    let maker = link.maker().ok()?;
    let parent = PidFd::open(maker).ok()?;
    (std::os::unix::process::parent_id() == maker).then_some(parent)
}

/// A child of the caller's parent. None in the child.
pub(crate) fn clone_sibling() -> io::Result<Option<(u32, OwnedFd)>> {
    let place = number_place().ok_or(io::ErrorKind::Unsupported)?;
    let (mut head, mut length) = (0_usize, 0_usize);
    // SAFETY: the kernel writes a pointer and a length.
    syscall!(libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length))?;
    let flags =
        libc::CLONE_PARENT | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: libc::c_int = -1;
    // SAFETY: without CLONE_VM the child has a copy of everything and goes on from here on a copy of this stack; the caller
    // has one thread and holds no lock, so the child finds libc whole, but for the number and list that are mended here.
    let pid = unsafe { raw_clone(flags, &mut pidfd, place) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: what libc had registered.
            unsafe { libc::syscall(libc::SYS_set_robust_list, head, length) };
            super::process_id::forget_identity();
            Ok(None)
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        pid => Ok(Some((pid as u32, unsafe { OwnedFd::from_raw_fd(pidfd) }))),
    }
}

/// # Safety
/// As for `fork`: see the caller.
unsafe fn raw_clone(flags: libc::c_int, pidfd: &mut libc::c_int, number: *mut libc::c_int) -> libc::c_long {
    let (stack, tls) = (0_usize, 0_usize);
    // SAFETY: by the caller's promise. The order of the last two differs between processors.
    unsafe {
        if cfg!(target_arch = "x86_64") {
            libc::syscall(libc::SYS_clone, libc::c_long::from(flags), stack, &raw mut *pidfd, number, tls)
        } else {
            libc::syscall(libc::SYS_clone, libc::c_long::from(flags), stack, &raw mut *pidfd, tls, number)
        }
    }
}

/// Where libc keeps the number of this thread, if the kernel tells: the place is the right one if the number stands there.
fn number_place() -> Option<*mut libc::c_int> {
    const PR_GET_TID_ADDRESS: libc::c_int = 40;
    let mut place: *mut libc::c_int = std::ptr::null_mut();
    syscall!(libc::prctl(PR_GET_TID_ADDRESS, &raw mut place, 0, 0, 0)).ok()?;
    // SAFETY: the address that libc gave to the kernel for this thread, in memory of this thread.
    let is_right = !place.is_null() && unsafe { libc::c_long::from(*place) == libc::syscall(libc::SYS_gettid) };
    is_right.then_some(place)
}

/// Whether [`clone_sibling`] works here.
pub(crate) fn can_clone_siblings() -> bool {
    number_place().is_some()
}

/// libc's own `fork`. None in the child.
///
/// # Safety
/// In a program with several threads, the child finds locked what others had locked.
pub(crate) unsafe fn fork() -> io::Result<Option<u32>> {
    // SAFETY: by the caller's promise.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid as u32)),
    }
}

/// In a child, before anything else: nothing of the server's, but this and the standard streams.
pub(crate) fn settle_child(kept: &impl AsFd) {
    close_all_but(&[super::as_number(kept)]);
    have_usual_signals();
}

/// As a fresh program has them: what was ignored is not, and what waited comes.
fn have_usual_signals() {
    let ignored = IGNORED.load(Relaxed);
    for signal in (1..=64).filter(|signal| ignored >> (signal - 1) & 1 == 1) {
        // SAFETY: the default action.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: no handler; plain data, for which zeros are valid; valid places.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN); // as in every Rust program
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Names this thread, as far as the system has room for it.
pub(crate) fn set_name(name: &str) {
    let mut comm = [0_u8; 16];
    let length = name.len().min(15);
    comm[..length].copy_from_slice(&name.as_bytes()[..length]);
    // SAFETY: a name that ends with a NUL.
    unsafe { libc::prctl(libc::PR_SET_NAME, comm.as_ptr(), 0, 0, 0) };
}

/// There is no child, and trying again does not help.
pub(crate) const NO_CHILD: Os = Os(libc::ECHILD);

/// Kills and reaps a child for which there is no descriptor. Nobody knows it yet, so its number is its own.
pub(crate) fn abort_child(pid: u32) {
    // SAFETY: no pointers; a status is not wanted.
    unsafe {
        libc::kill(pid as libc::pid_t, libc::SIGKILL);
        libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), 0);
    }
}

/// In a thread of this crate: signals to the process are for the program's own threads.
pub(crate) fn block_signals() {
    // SAFETY: plain data, for which zeros are valid; valid places.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
}

/// In a worker: Ctrl-C is for the program that started it.
pub(crate) fn ignore_interrupts() {
    // SAFETY: ignoring a signal is valid.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
}

/// Standard stream `number` of a child is this from now on.
pub(crate) fn set_standard_stream(number: RawFd, fd: &OwnedFd) -> io::Result<()> {
    syscall!(libc::dup2(fd.as_raw_fd(), number)).map(drop)
}

/// One more descriptor of a standard stream of this process; none if it is closed.
pub(crate) fn standard_stream(number: RawFd) -> io::Result<Option<OwnedFd>> {
    match syscall!(libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3)) {
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(None),
        Err(error) => Err(error),
    }
}

/// In a program that was executed to be a child: what a server does for its children.
pub(crate) fn settle_executed() {
    note_ignored_signals();
    have_usual_signals();
    let _ = null_standard_streams();
}

fn null_standard_streams() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for number in 0..3 {
        syscall!(libc::dup2(null.as_raw_fd(), number))?;
    }
    if null.as_raw_fd() < 3 {
        std::mem::forget(null); // one of the three was closed, and is this one now
    }
    Ok(())
}

/// Closes every descriptor from 3 on but these.
fn close_all_but(kept: &[RawFd]) {
    let mut kept: Vec<u32> = kept.iter().map(|fd| *fd as u32).collect();
    kept.sort_unstable();
    let mut from = 3;
    for fd in kept.into_iter().chain([u32::MAX]) {
        if fd > from {
            // SAFETY: no pointers. Whatever had one of these owned by a value is not used any more.
            let answer = unsafe { libc::syscall(libc::SYS_close_range, from, fd - u32::from(fd != u32::MAX), 0) };
            if answer == -1 {
                close_one_by_one(from, fd);
            }
        }
        from = from.max(fd.saturating_add(1));
    }
}

/// Where a filter forbids `close_range`.
fn close_one_by_one(from: u32, to: u32) {
    let open: Vec<u32> = std::fs::read_dir("/proc/self/fd").map_or_else(
        |_| Vec::new(),
        |entries| entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect(),
    );
    for fd in open.into_iter().filter(|fd| (from..to).contains(fd)) {
        // SAFETY: as in `close_all_but`.
        unsafe { libc::close(fd as RawFd) };
    }
}

/// Has `function` run when the program ends by `exit` or by the end of `main`.
pub(crate) fn at_exit(function: extern "C" fn()) {
    // SAFETY: a function of this program. A failure (no memory) leaves it out.
    unsafe { libc::atexit(function) };
}

/// Declares such a function.
macro_rules! exit_function {
    ($name:ident, $body:expr) => {
        extern "C" fn $name() {
            $body
        }
    };
}
pub(crate) use exit_function;

/// Ends the process in order: exit functions run, buffers are written.
pub(crate) fn exit(code: i32) -> ! {
    std::process::exit(code)
}

/// Ends a fork child: buffers are written, but exit functions are its parent's.
pub(crate) fn exit_copy(code: i32) -> ! {
    flush();
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Ends a process that was never the program's.
pub(crate) fn exit_at_once(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Writes what std has in its buffers, which a fork would double.
pub(crate) fn flush() {
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
}

pub(super) fn kill_self() {
    // SAFETY: no pointers.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
}

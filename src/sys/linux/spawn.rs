//! How processes start.
//!
//! A fork server is this program, executed again with its socket as standard input. It creates children by a raw
//! `clone(CLONE_PARENT)`, so they are children of the server's own parent: the kernel knows which process waits for
//! which child, and the exit code, also when the server is killed.
//!
//! A raw `clone` bypasses libc, which caches the thread's number and the head of its robust list. The kernel writes the
//! child's number to the address that libc gave it (`PR_GET_TID_ADDRESS`), and the child registers its list again.

use super::pidfd::PidFd;
use super::socket::Link;
use super::{attributes, image, signals, stdio, syscall};
use crate::Os;
use std::io::{self};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Why the program was executed again.
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

    /// Takes the role that this process was started in, with its socket. The variable is removed.
    pub(crate) fn take() -> Option<(Self, Link)> {
        let word = image::variable(ROLE)?;
        let role = [Role::Server, Role::Child].into_iter().find(|role| role.word() == word)?;
        // A number above those of the standard streams, which will be replaced.
        let fd = syscall!(libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3)).ok()?;
        // SAFETY: a new descriptor that nothing else owns.
        let link = Link::of(unsafe { OwnedFd::from_raw_fd(fd) })?;
        // SAFETY: before `main` or at its start, with one thread.
        unsafe { libc::unsetenv(ROLE.as_ptr()) };
        Some((role, link))
    }
}

/// Whether this process was started in a role that it has not taken.
pub(crate) fn has_role() -> bool {
    std::env::var_os(ROLE.to_str().unwrap_or_default()).is_some()
}

/// Executes this program again, with the same arguments, in a role, and with a socket. Returns the new pid.
pub(crate) fn execute_self(role: Role, link: Link) -> io::Result<u32> {
    let mut command = Command::new("/proc/self/exe");
    let mut args = std::env::args_os();
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args);
    command.stdin(link.into_fd()).stdout(Stdio::null()).stderr(Stdio::null());
    if role == Role::Server {
        command.process_group(0); // signals of the terminal to the program's group are not for it
    }
    let own_variables = |command: &mut Command| {
        command.env(ROLE.to_str().unwrap_or_default(), role.word());
        if role == Role::Server {
            // Functions of libraries are looked up now, once, and not by each child, which costs a tenth of its life.
            command.env("LD_BIND_NOW", "1");
        }
    };
    own_variables(&mut command);
    // Without a function to run before exec, std does this by `posix_spawn`, which costs the same from a large parent.
    let spawned = command.spawn().or_else(|error| match error.raw_os_error() {
        // The environment is larger than the system allows. The spawn request brings it; until then loaders and
        // runtimes have its short variables.
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

/// The number of bytes of environment that the system passes in any case.
const MOST_VARIABLES: usize = 64 << 10;
const LONGEST_VARIABLE: usize = 4 << 10;

/// Separates a server from the program that it came from.
pub(crate) fn init_server(link: &Link) -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE, libc::SIGQUIT, libc::SIGTSTP] {
        // SAFETY: no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    signals::note_ignored_signals();
    // A signal that is sent to a child just after the spawn waits until the child no longer ignores it.
    signals::block_signals();
    set_name("crossproc-srv"); // instead of the name of the link by which it was executed
    attributes::raise_descriptor_limit();
    stdio::null_standard_streams()?;
    stdio::close_all_but(&[super::as_number(link)]);
    // The directory that it was started in may be unmounted.
    let _ = std::env::set_current_dir("/");
    Ok(())
}

/// For a server: the process that made the link, if it still is its parent.
pub(crate) fn parent_of(link: &Link) -> Option<PidFd> {
    let maker = link.maker().ok()?;
    let parent = PidFd::open(maker).ok()?;
    (std::os::unix::process::parent_id() == maker).then_some(parent)
}

/// Creates a child of the caller's parent. `None` in the child.
pub(crate) fn clone_sibling() -> io::Result<Option<(u32, OwnedFd)>> {
    let place = number_place().ok_or(io::ErrorKind::Unsupported)?;
    let (mut head, mut length) = (0_usize, 0_usize);
    // SAFETY: the kernel writes a pointer and a length to valid places.
    syscall!(libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length))?;
    let flags =
        libc::CLONE_PARENT | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: libc::c_int = -1;
    // SAFETY: without CLONE_VM the child has a copy of everything and continues here on a copy of this stack. The
    // caller has one thread and holds no lock, so libc is whole in the child, except for the number and the list, which
    // are repaired below.
    let pid = unsafe { raw_clone(flags, &mut pidfd, place) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: what libc had registered.
            unsafe { libc::syscall(libc::SYS_set_robust_list, head, length) };
            super::process_id::forget();
            super::robust_list::after_fork();
            Ok(None)
        }
        // SAFETY: a new descriptor that nothing else owns.
        pid => Ok(Some((pid as u32, unsafe { OwnedFd::from_raw_fd(pidfd) }))),
    }
}

/// # Safety
/// See [`fork`]: the caller has one thread and holds no lock.
unsafe fn raw_clone(flags: libc::c_int, pidfd: &mut libc::c_int, number: *mut libc::c_int) -> libc::c_long {
    let (stack, tls) = (0_usize, 0_usize);
    // SAFETY: the pointers are valid; the caller guarantees the rest. The order of the last two differs between
    // processors.
    unsafe {
        if cfg!(target_arch = "x86_64") {
            libc::syscall(libc::SYS_clone, libc::c_long::from(flags), stack, &raw mut *pidfd, number, tls)
        } else {
            libc::syscall(libc::SYS_clone, libc::c_long::from(flags), stack, &raw mut *pidfd, tls, number)
        }
    }
}

/// The address where libc keeps the number of this thread, if the kernel knows it and the number is there.
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

/// libc's own `fork`. `None` in the child.
///
/// # Safety
/// In a program with several threads, the child finds locked what other threads had locked.
pub(crate) unsafe fn fork() -> io::Result<Option<u32>> {
    // SAFETY: the caller guarantees that the child copes with that.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid as u32)),
    }
}

/// The first steps of a child: nothing of the server's stays open, except this and the standard streams.
pub(crate) fn init_child(kept: &impl AsFd) {
    stdio::close_all_but(&[super::as_number(kept)]);
    signals::have_usual_signals();
}

/// Names this thread, as far as the system has room for it.
pub(crate) fn set_name(name: &str) {
    let mut comm = [0_u8; 16];
    let length = name.len().min(15);
    comm[..length].copy_from_slice(&name.as_bytes()[..length]);
    // SAFETY: a name that ends with a NUL.
    unsafe { libc::prctl(libc::PR_SET_NAME, comm.as_ptr(), 0, 0, 0) };
}

/// There is no child, and another try does not help.
pub(crate) const NO_CHILD: Os = Os(libc::ECHILD);

/// Kills and reaps a child for which there is no descriptor. No other process knows it yet, so its pid is its own.
pub(crate) fn abort_child(pid: u32) {
    // SAFETY: no pointers; no status is wanted.
    unsafe {
        libc::kill(pid as libc::pid_t, libc::SIGKILL);
        libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), 0);
    }
}

/// For a program that was executed to be a child: what a server does for its children.
pub(crate) fn init_executed() {
    signals::note_ignored_signals();
    signals::have_usual_signals();
    let _ = stdio::null_standard_streams();
}

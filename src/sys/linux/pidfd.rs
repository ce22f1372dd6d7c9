//! A process as a descriptor (`pidfd`): it refers to this very process, also after its pid was reused, and is readable
//! when the process has ended.

use super::{Deadline, poll, syscall};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

#[derive(Debug)]
pub(crate) struct PidFd(OwnedFd);

/// What a parent learns of its child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    /// The exit code, or minus the signal.
    Ended(i32),
    /// The child has ended, and another process got its status.
    Lost,
}

impl PidFd {
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        let fd = syscall!(libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0))?;
        // SAFETY: a fresh descriptor that nothing else owns.
        Ok(PidFd(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    pub(crate) fn of(fd: OwnedFd) -> Self {
        PidFd(fd)
    }

    /// The descriptor itself.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Whether the process has ended, at the deadline at the latest. A zombie has ended.
    pub(crate) fn wait(&self, deadline: Option<Deadline>) -> bool {
        poll::readable(self.0.as_raw_fd(), deadline)
    }

    /// Takes the exit status of a child, which is no zombie afterwards.
    pub(crate) fn reap(&self) -> Status {
        // SAFETY: plain data, for which zeros are valid.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOHANG;
        let id = self.0.as_raw_fd() as libc::id_t;
        match syscall!(libc::waitid(libc::P_PIDFD, id, &mut info, flags)) {
            // SAFETY: waitid filled the part that belongs to SIGCHLD, or left zeros.
            Ok(_) if unsafe { info.si_pid() } == 0 => Status::Running,
            Ok(_) => {
                // SAFETY: see the line before.
                let status = unsafe { info.si_status() };
                Status::Ended(if info.si_code == libc::CLD_EXITED { status } else { -status })
            }
            Err(_) if !self.wait(Some(Deadline::now())) => Status::Running, // not our child
            Err(_) => self.ask().map_or(Status::Lost, Status::Ended),
        }
    }

    /// The exit status of a process that was reaped elsewhere, from kernels that keep it (6.15).
    fn ask(&self) -> Option<i32> {
        #[repr(C)]
        #[derive(Default)]
        struct Info {
            mask: u64,
            cgroup: u64,
            ids: [u32; 11],
            exit_code: i32,
        }
        const EXIT: u64 = 1 << 3;
        const PIDFD_GET_INFO: u64 = 0xc000_0000 | (size_of::<Info>() as u64) << 16 | 0xff << 8 | 11;
        const { assert!(size_of::<Info>() == 64) }; // as in the kernel's first version
        let mut info = Info { mask: EXIT, ..Info::default() };
        let call = syscall!(libc::ioctl(self.0.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info));
        (call.is_ok() && info.mask & EXIT != 0).then(|| {
            let status = info.exit_code;
            if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
        })
    }

    /// Sends a signal. A process that has ended gets nothing.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let number = match signal {
            Signal::Terminate => libc::SIGTERM,
            Signal::Kill => libc::SIGKILL,
        };
        let nothing = std::ptr::null::<libc::siginfo_t>();
        match syscall!(libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), number, nothing, 0)) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
            _ => Ok(()),
        }
    }
}

/// The signals that this crate sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Terminate,
    Kill,
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_somebody_else_reaped_is_lost_or_told_by_the_kernel() {
        let mut child = std::process::Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pidfd = PidFd::open(child.id()).unwrap();
        child.wait().unwrap();
        assert!(pidfd.wait(None));
        assert!(matches!(pidfd.reap(), Status::Lost | Status::Ended(7)));
        pidfd.signal(Signal::Kill).unwrap();
        assert_eq!(PidFd::open(std::process::id()).unwrap().reap(), Status::Running, "not a child");
    }
}

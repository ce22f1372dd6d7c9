//! Executing this program again, as a fork server or as a child.

use super::protocol;
use crate::sys::Deadline;
use crate::sys::pidfd::{PidFd, Signal, Status};
use crate::sys::socket::Link;
use crate::sys::spawn::{self, Role};
use crate::{Os, SpawnError};
use std::time::Duration;

/// How long a program may take from its execution to its constructors.
const TIMEOUT: Duration = Duration::from_secs(20);
/// ... and from the end of its standard input to its own.
const SHORT_TIMEOUT: Duration = Duration::from_secs(2);
/// After so many kills in a row, something does not want servers and children here.
pub(super) const TRIES: usize = 5;
pub(super) const TOO_OFTEN: SpawnError = SpawnError::Os(spawn::NO_CHILD);

/// A process that sent the greeting of this very build.
#[derive(Debug)]
pub(super) struct Executed {
    pub(super) link: Link,
    pub(super) pid: u32,
    pub(super) pidfd: PidFd,
}

pub(super) fn execute(role: Role) -> Result<Executed, SpawnError> {
    let expected = protocol::greeting();
    for _ in 0..TRIES {
        let (link, there) = Link::pair()?;
        let pid = spawn::execute_self(role, there)?;
        let pidfd = own_child(pid)?;
        let mut greeting = [0; 64];
        let in_time = link.poll(Deadline::after(TIMEOUT));
        match in_time.then(|| link.recv(&mut greeting).ok().flatten()).flatten() {
            Some((greeting, _)) if *greeting == expected => return Ok(Executed { link, pid, pidfd }),
            Some((greeting, _)) => {
                end(&pidfd, Duration::ZERO);
                let ours = greeting.len() == expected.len() && greeting[..8] == expected[..8];
                return Err(if ours { SpawnError::ImageChanged } else { SpawnError::NotHooked });
            }
            // Another try, if it was killed. Otherwise it runs `main`, or has run it.
            None if in_time && end(&pidfd, SHORT_TIMEOUT).is_some_and(|code| code < 0) => {}
            None => {
                end(&pidfd, Duration::ZERO);
                return Err(SpawnError::NotHooked);
            }
        }
    }
    Err(TOO_OFTEN)
}

/// The pidfd of a child that is not known elsewhere yet. Without one the child is of no use, so it is killed.
pub(super) fn own_child(pid: u32) -> Result<PidFd, SpawnError> {
    PidFd::open(pid).map_err(|error| {
        spawn::abort_child(pid);
        SpawnError::Os(Os::from(error))
    })
}

/// The exit status of a child that ends by itself within the timeout; `None` for one that had to be killed.
pub(super) fn end(child: &PidFd, timeout: Duration) -> Option<i32> {
    let ended = child.wait(Some(Deadline::after(timeout)));
    if !ended {
        let _ = child.signal(Signal::Kill);
        child.wait(None);
    }
    match child.reap() {
        Status::Ended(code) if ended => Some(code),
        _ => None,
    }
}

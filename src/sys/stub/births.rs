//! Other systems: no process is ever started, so what a child or a server would need is never reached.

use super::{Deadline, Fd, Never};
use serde::{Deserialize, Serialize};
use std::io;

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A descriptor of this process: there is none.
pub trait AsFd {
    /// The descriptor.
    fn as_fd(&self) -> BorrowedFd<'_>;
}

/// A descriptor that somebody else owns: there is none.
#[derive(Clone, Copy, Debug)]
pub struct BorrowedFd<'a>(Never, std::marker::PhantomData<&'a ()>);

impl AsFd for Never {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

impl<T: AsFd + ?Sized> AsFd for &T {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }
}

impl AsFd for BorrowedFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

pub(crate) fn as_number(fd: &impl AsFd) -> i32 {
    match fd.as_fd().0 {}
}

pub(crate) mod image {
    use super::Never;

    /// What the system passed to the program.
    #[derive(Debug)]
    pub(crate) struct Start;

    impl Start {
        pub(crate) fn of_main() -> Self {
            Start
        }

        pub(crate) fn is_in_program(&self) -> bool {
            true
        }

        pub(crate) fn finish(&self) {}
    }

    macro_rules! before_main {
        ($function:path) => {
            const _: fn($crate::sys::image::Start) = $function;
        };
    }
    pub(crate) use before_main;

    pub(crate) fn offset_of(_: usize) -> Option<u64> {
        Some(0)
    }

    pub(crate) fn address_of(_: u64) -> Option<usize> {
        None::<Never>.map(|never| match never {})
    }

    pub(crate) fn build() -> u128 {
        0
    }

    pub(crate) fn is_privileged() -> bool {
        false
    }
}

pub(crate) mod spawn {
    use super::super::socket::Link;
    use super::{AsFd, Fd, io, unsupported};
    use crate::Os;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Role {
        Server,
        Child,
    }

    impl Role {
        pub(crate) fn take() -> Option<(Self, Link)> {
            None
        }
    }

    pub(crate) fn has_role() -> bool {
        false
    }

    pub(crate) fn execute_self(_: Role, _: Link) -> io::Result<u32> {
        unsupported()
    }

    pub(crate) fn settle_server(_: &Link) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn parent_of(_: &Link) -> Option<super::pidfd::PidFd> {
        None
    }

    pub(crate) fn settle_executed() {}

    pub(crate) fn settle_child(_: &impl AsFd) {}

    pub(crate) fn set_name(_: &str) {}

    pub(crate) fn clone_sibling() -> io::Result<Option<(u32, Fd)>> {
        unsupported()
    }

    pub(crate) fn can_clone_siblings() -> bool {
        false
    }

    #[allow(unsafe_code)] // as the other systems' declarations
    pub(crate) unsafe fn fork() -> io::Result<Option<u32>> {
        unsupported()
    }

    pub(crate) const NO_CHILD: Os = Os(10);

    pub(crate) fn abort_child(_: u32) {}

    pub(crate) fn block_signals() {}

    pub(crate) fn ignore_interrupts() {}

    pub(crate) fn set_standard_stream(_: i32, _: &Fd) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn standard_stream(_: i32) -> io::Result<Option<Fd>> {
        Ok(None)
    }

    pub(crate) fn at_exit(_: fn()) {}

    macro_rules! exit_function {
        ($name:ident, $body:expr) => {
            fn $name() {
                $body
            }
        };
    }
    pub(crate) use exit_function;

    pub(crate) fn exit(code: i32) -> ! {
        std::process::exit(code)
    }

    pub(crate) fn exit_copy(code: i32) -> ! {
        std::process::exit(code)
    }

    pub(crate) fn exit_at_once(code: i32) -> ! {
        std::process::exit(code)
    }

    pub(crate) fn flush() {}
}

pub(crate) mod lifeline {
    use super::{AsFd, BorrowedFd, Deadline, Fd, Never, io, unsupported};

    #[derive(Debug)]
    pub(crate) struct Lifeline(Never);

    #[derive(Debug)]
    pub(crate) struct ParentsEnd(Never);

    impl Lifeline {
        pub(crate) fn new() -> io::Result<Self> {
            unsupported()
        }

        pub(crate) fn end(&self) -> &ParentsEnd {
            match self.0 {}
        }
    }

    impl ParentsEnd {
        pub(crate) fn of(fd: Fd) -> Self {
            match fd {}
        }

        pub(crate) fn duplicate(&self) -> io::Result<Self> {
            match self.0 {}
        }

        pub(crate) fn wait(&self, _: Option<Deadline>) -> bool {
            match self.0 {}
        }

        pub(crate) fn die_with_parent(&self) -> io::Result<()> {
            match self.0 {}
        }
    }

    impl AsFd for ParentsEnd {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match self.0 {}
        }
    }
}

pub(crate) mod pidfd {
    use super::{AsFd, BorrowedFd, Deadline, Fd, Never, io, unsupported};

    #[derive(Debug)]
    pub(crate) struct PidFd(Never);

    #[allow(dead_code, reason = "nothing ends")]
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Status {
        Running,
        Ended(i32),
        Lost,
    }

    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Signal {
        Terminate,
        Kill,
    }

    impl PidFd {
        pub(crate) fn open(_: u32) -> io::Result<Self> {
            unsupported()
        }

        pub(crate) fn of(fd: Fd) -> Self {
            match fd {}
        }

        pub(crate) fn wait(&self, _: Option<Deadline>) -> bool {
            match self.0 {}
        }

        pub(crate) fn reap(&self) -> Status {
            match self.0 {}
        }

        pub(crate) fn signal(&self, _: Signal) -> io::Result<()> {
            match self.0 {}
        }
    }

    impl AsFd for PidFd {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match self.0 {}
        }
    }
}

pub(crate) mod poll {
    use super::{AsFd, Deadline, Never, io, unsupported};

    #[derive(Debug)]
    pub(crate) struct Poll(Never);

    impl Poll {
        pub(crate) fn new() -> io::Result<Self> {
            unsupported()
        }

        pub(crate) fn add(&self, _: &impl AsFd, _: u64) -> io::Result<()> {
            match self.0 {}
        }

        pub(crate) fn remove(&self, _: &impl AsFd) {
            match self.0 {}
        }

        pub(crate) fn wait(&self, _: Option<Deadline>) -> Vec<u64> {
            match self.0 {}
        }
    }

    pub(crate) fn readable(_: i32, _: Option<Deadline>) -> bool {
        false
    }

    #[derive(Debug)]
    pub(crate) struct EventFd(Never);

    impl EventFd {
        pub(crate) fn new() -> io::Result<Self> {
            unsupported()
        }

        pub(crate) fn ring(&self) {
            match self.0 {}
        }

        pub(crate) fn hear(&self) {
            match self.0 {}
        }
    }

    impl AsFd for EventFd {
        fn as_fd(&self) -> super::BorrowedFd<'_> {
            match self.0 {}
        }
    }
}

pub(crate) mod attributes {
    use super::{Deserialize, Fd, Never, Serialize, io, unsupported};
    use std::ffi::{OsStr, OsString};

    #[derive(Debug)]
    pub(crate) struct ProcReader(Never);

    #[derive(Clone, Debug)]
    pub(crate) struct Attributes(Never);

    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Changes;

    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Credentials(Never);

    impl ProcReader {
        pub(crate) fn of_this_thread(_: &mut Option<Self>) -> io::Result<&mut Self> {
            unsupported()
        }

        pub(crate) fn look(&mut self) -> io::Result<(Attributes, Credentials)> {
            match self.0 {}
        }
    }

    impl Attributes {
        pub(crate) fn changes(self, _: Option<&Self>) -> Changes {
            match self.0 {}
        }
    }

    impl Changes {
        pub(crate) fn apply(&self) -> io::Result<()> {
            unsupported()
        }
    }

    pub(crate) fn process_limit() -> (u64, u64) {
        (0, 0)
    }

    pub(crate) fn set_process_limit(_: u32, _: (u64, u64)) {}

    pub(crate) fn working_folder() -> io::Result<Fd> {
        unsupported()
    }

    pub(crate) fn enter_folder(folder: &Fd) -> io::Result<()> {
        match *folder {}
    }

    pub(crate) fn environment(_: &[(OsString, OsString)]) -> Vec<u8> {
        Vec::new()
    }

    pub(crate) fn set_environment(_: &[u8]) {}

    pub(crate) fn check_variable(_: &OsStr, _: &OsStr) -> io::Result<()> {
        unsupported()
    }
}

//! Stub of `attributes`.

use super::{Fd, Never, io, unsupported};
use serde::{Deserialize, Serialize};
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

    pub(crate) fn read(&mut self) -> io::Result<(Attributes, Credentials)> {
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

//! Stub of `stdio`.

use super::{Fd, io, unsupported};

pub(crate) fn set_standard_stream(_: i32, _: &Fd) -> io::Result<()> {
    unsupported()
}

pub(crate) fn standard_stream(_: i32) -> io::Result<Option<Fd>> {
    Ok(None)
}

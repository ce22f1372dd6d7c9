//! Errors: their texts, their conversions, and their serialisation.

use crossproc::{ArrayError, Error, LockError, LockTimeoutError, Os, SegmentError, TransferError, TryLockError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Checks that an error survives serialisation, and that its text begins in lower case and has no full stop at its end.
fn travels<E: std::error::Error + Serialize + DeserializeOwned + PartialEq + Clone + Debug>(error: E) {
    let bytes = postcard::to_stdvec(&error).unwrap();
    assert_eq!(postcard::from_bytes::<E>(&bytes).unwrap(), error.clone());
    let text = error.to_string();
    assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
    let first = text.chars().next().unwrap_or('a');
    assert!(!first.is_uppercase() || format!("{error:?}").starts_with("Os"), "{text}");
}

fn every_lock_error() -> [LockError; 4] {
    [LockError::Deadlock, LockError::Corrupt, LockError::TooMany, LockError::OwnerDied { pid: 4711 }]
}

#[test]
fn lock_errors() {
    every_lock_error().into_iter().for_each(travels);
    every_lock_error().map(TryLockError::Lock).into_iter().for_each(travels);
    every_lock_error().map(LockTimeoutError::Lock).into_iter().for_each(travels);
    every_lock_error().map(ArrayError::Lock).into_iter().for_each(travels);
    travels(TryLockError::WouldBlock);
    travels(LockTimeoutError::Timeout);
    assert!(LockTimeoutError::Timeout.is_timeout());
    assert!(!LockTimeoutError::Lock(LockError::Deadlock).is_timeout());
    assert!(LockError::OwnerDied { pid: 4711 }.to_string().contains("4711"));
    assert_eq!(TryLockError::Lock(LockError::TooMany).to_string(), LockError::TooMany.to_string());
}

#[test]
fn array_errors() {
    travels(ArrayError::Partitioned);
    travels(ArrayError::OutOfBounds { index: 8, len: 5 });
    travels(ArrayError::LengthMismatch { got: 3, len: 5 });
    let text = ArrayError::OutOfBounds { index: 8, len: 5 }.to_string();
    assert!(text.contains('8') && text.contains('5'), "{text}");
}

#[test]
fn segment_errors() {
    use SegmentError::*;
    [AlreadyExists, NotFound, InvalidName, WrongOwner, WrongType, WrongSize, WrongVersion, WrongNamespace]
        .into_iter()
        .for_each(travels);
    [NotASegment, TooLarge, NoSpace, Gone, Unsupported, SegmentError::Os(crossproc::Os(libc::EACCES))]
        .into_iter()
        .for_each(travels);
    travels(Invalid("0 parties".into()));
    assert_eq!(Invalid("0 parties".into()).to_string(), "0 parties");
    let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
    assert_eq!(SegmentError::from(full), NoSpace);
}

#[test]
fn an_error_of_the_system_is_its_number() {
    travels(Os(libc::ENOENT));
    let missing = std::fs::File::open("/none").unwrap_err();
    assert_eq!(Os::from(missing), Os(libc::ENOENT));
    let missing = std::fs::File::open("/none").unwrap_err();
    assert_eq!(Error::from(missing), Error::Os(Os(libc::ENOENT)));
}

#[test]
fn a_question_mark_makes_any_of_them_one() {
    fn all(which: u32) -> crossproc::Result<()> {
        match which {
            0 => Err(LockError::Deadlock)?,
            1 => Err(TryLockError::WouldBlock)?,
            2 => Err(LockTimeoutError::Timeout)?,
            3 => Err(ArrayError::Partitioned)?,
            4 => Err(SegmentError::Gone)?,
            5 => Err(TransferError::Eof)?,
            6 => Err(Os(5))?,
            7 => Err("text")?,
            8 => Err(String::from("text"))?,
            9 => Err(Box::<dyn std::error::Error>::from("text"))?,
            10 => Err(std::io::Error::from_raw_os_error(5))?,
            _ => Err(Error::other("text"))?,
        }
        Ok(())
    }
    let errors: Vec<Error> = (0..12).map(|which| all(which).unwrap_err()).collect();
    errors.iter().cloned().for_each(travels);
    assert_eq!(errors.iter().filter(|error| error.is_timeout()).count(), 1);
    assert!(errors[7..10].iter().all(|error| error.to_string() == "text"));
    assert_eq!(errors[6], errors[10]);
}

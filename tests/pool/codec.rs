//! Inputs, results and shared values of all sizes, and those that cannot be encoded or decoded.

use super::common::cube;
use crate::util::within;
use crossproc::{Pool, TaskError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[test]
fn long_texts_and_large_results_come_whole() {
    within(120, || {
        let pool = Pool::new(2).unwrap();
        match pool.apply(|| panic!("{}", "中".repeat(350_000)), ()) {
            Err(TaskError::Panicked { message, .. }) => assert_eq!(message, "中".repeat(350_000)),
            other => panic!("{:?}", other.map_err(|error| error.to_string().len())),
        }
        const LARGE: usize = 256 << 20;
        let make = |size: usize| -> Vec<u8> { (0..size).map(|at| (at / 4096) as u8).collect() };
        let large = pool.apply(make, (LARGE,)).unwrap();
        assert_eq!(large.len(), LARGE);
        assert!(large.iter().enumerate().all(|(at, byte)| *byte == (at / 4096) as u8));
        assert_eq!(pool.apply(|bytes: Vec<u8>| bytes.len(), (large,)).unwrap(), LARGE);
        let several = pool.map(|seed: u8| vec![seed; 5 << 20], 0..40).unwrap();
        assert!((0..).zip(several).all(|(seed, bytes): (u8, Vec<u8>)| bytes.len() == 5 << 20 && bytes[9] == seed));
    });
}

/// A value that cannot be encoded or decoded, in one of four ways.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Awkward {
    Fine,
    Unwritable,
    PanicsInWriting,
    Unreadable,
    PanicsInReading,
}
use Awkward::{Fine, PanicsInReading, PanicsInWriting, Unreadable, Unwritable};

impl Serialize for Awkward {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Unwritable => Err(serde::ser::Error::custom("not today")),
            PanicsInWriting => panic!("in writing"),
            other => serializer.serialize_u8(*other as u8),
        }
    }
}

impl<'de> Deserialize<'de> for Awkward {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Fine),
            3 => Err(serde::de::Error::custom("unreadable")),
            _ => panic!("in reading"),
        }
    }
}

#[test]
fn what_cannot_be_encoded_or_decoded_is_an_error_of_its_own() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let take = |_: Awkward| 1_u8;
        for (awkward, expected) in
            [(Unwritable, "encode"), (PanicsInWriting, "encode"), (Unreadable, "decode"), (PanicsInReading, "panicked")]
        {
            for size in [1, 5] {
                let error = pool.chunksize(size).map(take, [Fine, awkward, Fine]).unwrap_err();
                assert!(error.to_string().contains(expected), "{awkward:?}, {size}: {error}");
            }
            assert!(pool.apply(take, (awkward,)).unwrap_err().to_string().contains(expected), "{awkward:?}");
            assert_eq!(pool.apply(take, (Fine,)), Ok(1));
        }
        let give: fn(u8) -> Awkward =
            |which| [Fine, Unwritable, PanicsInWriting, Unreadable, PanicsInReading][which as usize];
        for (which, expected) in [(1, "encode"), (2, "panicked"), (3, "decode"), (4, "decode")] {
            for size in [1, 5] {
                let error = pool.chunksize(size).map(give, [0, 0, which, 0]).unwrap_err().to_string();
                assert!(error.contains(expected), "{which}, {size}: {error}");
                let lazy: Vec<_> = pool.imap(give, [0, 0, which, 0]).chunksize(size).collect();
                assert_eq!(lazy.len(), 4);
                assert!(lazy[..2].iter().all(|result| *result == Ok(Fine)) && lazy[2].is_err(), "{lazy:?}");
            }
            assert_eq!(pool.apply(give, (0,)), Ok(Fine));
        }
        for awkward in [Unwritable, PanicsInWriting] {
            let shared = pool.map_with(&awkward, |_, x: u8| x, 0..10).unwrap_err();
            assert!(matches!(shared, TaskError::Encode(_)), "{shared:?}");
        }
        for awkward in [Unreadable, PanicsInReading] {
            let shared = pool.map_with(&awkward, |_, x: u8| x, 0..10).unwrap_err();
            assert!(matches!(shared, TaskError::Decode(_)), "{shared:?}");
        }
        assert_eq!(pool.map(cube, 0..3).unwrap(), [0, 1, 8]);
    });
}

#[test]
fn no_worker_waits_for_a_shared_value_that_cannot_be_sent() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        for _ in 0..2000 {
            let error = pool.map_with(&Unwritable, |_, x: u8| x, 0..10).unwrap_err();
            assert!(matches!(error, TaskError::Encode(_)), "{error:?}");
        }
        assert_eq!(pool.map(cube, 0..3).unwrap(), [0, 1, 8]);
    });
}

//! Reading and replacing a `Value`.

use crate::measure::{Job, Plan, Row, check, interleave};
use crate::process::{Shared, cores, pin};
use anyhow::Result;
use crossproc::{Element, Value};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

const GROUP: &str = "values";

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    pin(cores()[0])?;
    let (small, line, page) = (Value::new(3_u64)?, Value::new([3_u64; 8])?, Value::new([3_u64; 512])?);
    let held = Value::new(3_u64)?;
    let _holder = held.lock()?;
    let word = Shared::new(AtomicU64::new(3))?;
    let jobs = vec![
        getting("get 8 bytes: Value", plan, &small, |value| value),
        getting("get 8 bytes: Value, lock held", plan, &held, |value| value),
        Job::per_op("get 8 bytes: a load", plan, |count| {
            check("the sum", (0..count).fold(0, |sum, _| sum + word.load(Ordering::Acquire)), 3 * count)
        })
        .limit(),
        behind_lock("get 8 bytes: std::sync::RwLock", plan, 3_u64, |value| value),
        getting("get 64 bytes: Value", plan, &line, sum),
        behind_lock("get 64 bytes: std::sync::RwLock", plan, [3_u64; 8], sum),
        getting("get 4096 bytes: Value", plan, &page, sum),
        behind_lock("get 4096 bytes: std::sync::RwLock", plan, [3_u64; 512], sum),
        setting("set 8 bytes: Value", plan, |i| i),
        setting("set 64 bytes: Value", plan, |i| [i; 8]),
        setting("set 4096 bytes: Value", plan, |i| [i; 512]),
    ];
    interleave(GROUP, plan, jobs)
}

/// Uses every word, so that the whole value is read.
#[inline(always)]
fn sum<const N: usize>(words: [u64; N]) -> u64 {
    words.iter().fold(0, |sum, word| sum.wrapping_add(*word))
}

fn getting<'a, T: Element>(
    name: &'static str,
    plan: &Plan,
    value: &'a Value<T>,
    digest: impl Fn(T) -> u64 + Copy + 'a,
) -> Job<'a> {
    Job::per_op(name, plan, move |count| {
        let sum = (0..count).fold(0_u64, |sum, _| sum.wrapping_add(digest(value.get())));
        check(name, sum, digest(value.get()).wrapping_mul(count))
    })
    .ours()
}

/// What threads would do: a copy of the value, under a lock for readers.
fn behind_lock<'a, T: Copy + 'a>(
    name: &'static str,
    plan: &Plan,
    value: T,
    digest: impl Fn(T) -> u64 + Copy + 'a,
) -> Job<'a> {
    let lock = RwLock::new(value);
    Job::per_op(name, plan, move |count| {
        let get = || *black_box(&lock).read().unwrap_or_else(PoisonError::into_inner);
        let sum = (0..count).fold(0_u64, |sum, _| sum.wrapping_add(digest(get())));
        check(name, sum, digest(value).wrapping_mul(count))
    })
    .in_process()
}

fn setting<'a, T: Element + PartialEq + std::fmt::Debug + 'a>(
    name: &'static str,
    plan: &Plan,
    make: impl Fn(u64) -> T + Copy + 'a,
) -> Job<'a> {
    let value = match Value::new(make(0)) {
        Ok(value) => value,
        Err(error) => return Job::missing(name, error),
    };
    Job::per_op(name, plan, move |count| {
        for i in 0..count {
            value.set(make(i))?;
        }
        check(name, value.get(), make(count - 1))
    })
    .ours()
}

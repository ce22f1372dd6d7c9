//! Making and dropping shared objects.

use crate::measure::{Job, Plan, Row, check, interleave};
use crate::process::{busy, cores, pin};
use crate::raw_memory::{Mapping, allocated_memfd, named_and_dropped};
use anyhow::{Context, Result, ensure};
use crossproc::{Array, Value};
use serde::{Deserialize, Serialize};
use shared_memory::ShmemConf;
use std::process::Command;

const GROUP: &str = "memory";
const BIG: usize = 64 << 20;
const MANY: usize = 10_000;

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    pin(cores()[0])?;
    let create = |count: u64| (0..count).try_for_each(|i| check("a new Value", Value::new(i)?.get(), i));
    let small = vec![
        Job::per_op("create and drop: Value", plan, |count| {
            let _another = Value::new(0_u64)?;
            create(count)
        })
        .ours(),
        Job::per_op("create and drop: the only Value", plan, create).ours(),
        Job::one("create and drop: 10,000 Values, each", "ns", || {
            let start = busy();
            drop(ten_thousand()?);
            Ok((busy() - start) as f64 / MANY as f64)
        })
        .ours(),
        Job::per_op("create and drop: shm_open .. unlink", plan, |count| {
            (0..count).try_for_each(|_| named_and_dropped())
        }),
        Job::per_op("create and drop: shared_memory", plan, |count| (0..count).try_for_each(|_| owned_and_dropped())),
        Job::per_op("create and drop: memfd", plan, |count| {
            (0..count).try_for_each(|_| Mapping::of_memfd(4096).map(drop))
        }),
    ];
    let mut rows = interleave(GROUP, plan, small)?;
    let big = vec![
        Job::one("64 MiB: memfd, allocated and mapped", "ms", || timed(|| allocated_memfd(BIG).map(drop))).limit(),
        Job::one("64 MiB: Array<u8>", "ms", || timed(|| check("the length", Array::<u8>::zeroed(BIG)?.len(), BIG)))
            .ours(),
    ];
    rows.append(&mut interleave(GROUP, plan, big)?);
    rows.append(&mut live_values(plan)?);
    Ok(rows)
}

/// The crate, as its documentation has it: with a name of its own choice.
fn owned_and_dropped() -> Result<()> {
    let memory = ShmemConf::new().size(4096).create()?;
    check("the owner", memory.is_owner(), true)
}

/// In milliseconds; the kernel allocates on behalf of this process, so its own time is all of it.
fn timed(body: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = busy();
    body()?;
    Ok((busy() - start) as f64 / 1e6)
}

fn ten_thousand() -> Result<Vec<Value<u64>>> {
    (0..MANY).map(|i| Ok(Value::new(i as u64)?)).collect()
}

/// What so many values cost a process.
#[derive(Serialize, Deserialize)]
struct Cost {
    descriptors: usize,
    mappings: usize,
}

impl Cost {
    fn now() -> Result<Self> {
        let descriptors = std::fs::read_dir("/proc/self/fd")?.count();
        Ok(Cost { descriptors, mappings: std::fs::read_to_string("/proc/self/maps")?.lines().count() })
    }
}

/// The argument that makes this program a process which counts its live values, and nothing else.
pub const COUNT_LIVE_VALUES: &str = "count-live-values";

pub fn count_live_values() -> Result<()> {
    let before = Cost::now()?;
    let values = ten_thousand()?;
    let after = Cost::now()?;
    ensure!(values.iter().enumerate().all(|(i, value)| value.get() == i as u64), "a value is wrong");
    let cost = Cost {
        descriptors: after.descriptors.saturating_sub(before.descriptors),
        mappings: after.mappings.saturating_sub(before.mappings),
    };
    println!("{}", serde_json::to_string(&cost)?);
    Ok(())
}

/// In a fresh process, for this one has arenas already.
fn live_values(plan: &Plan) -> Result<Vec<Row>> {
    let rows = vec![("10,000 live Values: descriptors".into(), "fds"), ("10,000 live Values: mappings".into(), "maps")];
    let job = Job::new(rows, || {
        let output = Command::new(std::env::current_exe()?).arg(COUNT_LIVE_VALUES).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let cost: Cost = serde_json::from_slice(&output.stdout).context("its answer")?;
        Ok(vec![cost.descriptors as f64, cost.mappings as f64])
    });
    interleave(GROUP, plan, vec![job.ours()])
}

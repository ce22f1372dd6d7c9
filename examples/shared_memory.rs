//! Objects inside a `shared_memory::Shmem` that the program owns, made by one process and used by the other.
//!
//! ```text
//! cargo run --example shared_memory --features shared_memory
//! ```

use crossproc::{Array, Error, Result, Value, Within};
use shared_memory::ShmemConf;
use std::process::Command;

/// Where in the memory the objects are: multiples of 64, with room for some hundred bytes beside the data.
const COUNTER_AT: usize = 0;
const LIST_AT: usize = 4096;

/// The other process: uses the counter, and makes the list.
fn other(id: &str) -> Result<()> {
    let memory = Within::new(ShmemConf::new().os_id(id).open().map_err(Error::other)?);
    let counter = Value::<u64>::within(&memory, COUNTER_AT).open()?;
    *counter.lock()? += 1;
    let list = Array::within(&memory, LIST_AT).create(&[1_u16, 2, 3])?;
    assert_eq!(list.len(), 3);
    Ok(())
}

fn main() -> Result<()> {
    if let Some(id) = std::env::args().nth(1) {
        return other(&id);
    }
    // The program that made the memory removes its name; what is in it is this crate's.
    let memory = Within::new(ShmemConf::new().size(1 << 16).create().map_err(Error::other)?);
    let counter = Value::within(&memory, COUNTER_AT).create(41_u64)?;
    let status = Command::new(std::env::current_exe()?).arg(memory.shmem().get_os_id()).status()?;
    assert!(status.success());
    let list = Array::<u16>::within(&memory, LIST_AT).open()?;
    println!("the counter is {}, the list {:?}", counter.get(), list.to_vec()?);
    assert_eq!((counter.get(), list.to_vec()?), (42, vec![1, 2, 3]));
    list.lock()?[0] = 10;
    assert_eq!(list.get(0)?, 10);
    Ok(())
}

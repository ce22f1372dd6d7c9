//! What may live in a `Value`: plain data without pointers and padding, also of your own types.
//!
//! ```text
//! cargo run --example value_types
//! ```

use crossproc::{CheckedBitPattern, NoUninit, Pod, Result, Value, Zeroable};

/// Any bytes are a `Point`, so it may have a name and be an item of an `Array` too.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[bytemuck(crate = "crossproc::bytemuck")]
#[repr(C)]
struct Point {
    x: f64,
    y: f64,
}

/// Not all bytes are a `State`: what is read is checked first.
#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[bytemuck(crate = "crossproc::bytemuck")]
#[repr(u8)]
enum State {
    Idle,
    Busy,
}

/// Several in one `Value` change together, or not at all. Padding is refused when this is compiled: fill it up.
#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[bytemuck(crate = "crossproc::bytemuck")]
#[repr(C)]
struct Worker {
    at: [i32; 2],
    state: State,
    is_paid: bool,
    unused: [u8; 2],
}

fn main() -> Result<()> {
    let flag = Value::new(true)?;
    let letter = Value::new('ß')?;
    flag.update(|flag| *flag = !*flag)?;
    letter.set('ẞ')?;
    assert_eq!((flag.get(), letter.get()), (false, 'ẞ'));

    let point = Value::named(&format!("value-types-{}", std::process::id())).create(Point { x: 1.0, y: 2.0 })?;
    point.lock()?.x += 0.5;
    println!("{:?}", point.get());
    assert_eq!(point.get(), Point { x: 1.5, y: 2.0 });

    let worker = Value::new(Worker { at: [0, 0], state: State::Idle, is_paid: false, unused: [0; 2] })?;
    let mut guard = worker.lock()?;
    guard.state = State::Busy;
    guard.at[1] -= 3;
    drop(guard);
    println!("{:?}", worker.get());
    assert_eq!((worker.get().state, worker.get().at), (State::Busy, [0, -3]));
    Ok(())
}

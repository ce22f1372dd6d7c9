//! A `Value` changes as a whole or not at all: a guard works on a copy, and its end commits.
//!
//! ```text
//! cargo run --example transactions
//! ```

use crossproc::{Error, Result, Value};

/// Two accounts, in cents.
type Accounts = Value<[i64; 2]>;

/// Takes from the one before it knows whether the other may have it: an `Err` undoes that.
fn transfer(accounts: &Accounts, cents: i64) -> Result<()> {
    accounts.try_update(|[from, to]| {
        *from -= cents;
        if *from < 0 {
            return Err(Error::from("not enough money"));
        }
        *to += cents;
        Ok(())
    })
}

fn main() -> Result<()> {
    let accounts = Value::new([1000, 0])?;
    transfer(&accounts, 700)?;
    assert_eq!(accounts.get(), [300, 700]);

    let refused = transfer(&accounts, 400).unwrap_err();
    println!("400 more: {refused}; still {:?}", accounts.get());
    assert_eq!(accounts.get(), [300, 700]);

    // Others see the last committed value, also while a process is at work, and they do not wait.
    let mut guard = accounts.lock()?;
    *guard = [0, 0];
    assert_eq!(accounts.get(), [300, 700]);
    guard.rollback();
    assert_eq!(accounts.get(), [300, 700]);

    // A panic is a rollback too.
    let panicked = std::panic::catch_unwind(|| {
        accounts.update(|accounts| {
            accounts[0] = 1_000_000;
            std::panic::resume_unwind(Box::new("quietly"));
        })
    });
    assert!(panicked.is_err());
    println!("after a panic: {:?}", accounts.get());
    assert_eq!(accounts.get(), [300, 700]);
    Ok(())
}

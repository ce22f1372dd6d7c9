//! A scope: children that are joined at its end, whatever happens.
//!
//! ```text
//! cargo run --example scope
//! ```

use crossproc::{JoinError, Process, Result, ScopeError, Value, active_children, scope};

fn add(total: Value<u64>, n: u64) -> Result<u64> {
    *total.lock()? += n;
    Ok(n)
}

/// Starts a child that fails, among others.
fn one_of_three_fails(total: &Value<u64>) -> Result<(), ScopeError> {
    scope(|s| {
        s.spawn(add, (total.clone(), 100));
        s.spawn(|| std::process::exit(3), ());
        s.spawn(add, (total.clone(), 200));
    })
}

fn main() -> Result<()> {
    let total = Value::new(0)?;

    // No list of children, no joins: after the scope all have ended.
    scope(|s| {
        for n in 1..=8 {
            s.spawn(add, (total.clone(), n));
        }
    })?;
    println!("8 children added up to {}", total.get());
    assert_eq!(total.get(), 36);
    assert!(active_children().is_empty());

    // Join inside to get a result.
    let sum = scope(|s| {
        let (a, b) = (s.spawn(|| 40, ()), s.spawn(|| 2, ()));
        Ok::<_, JoinError>(a.join()? + b.join()?)
    })??;
    println!("two results: {sum}");
    assert_eq!(sum, 42);

    // The first failure is the scope's, and the other children are joined all the same.
    let error = one_of_three_fails(&total).unwrap_err();
    println!("one of three: {error}");
    assert!(matches!(error, ScopeError::Child { error: JoinError::Exited(3), .. }));
    assert_eq!(total.get(), 336);

    // Scopes nest: this one is in a child.
    let deeper = Process::spawn(|total: Value<u64>| scope(|s| drop(s.spawn(add, (total, 1)))), (total.clone(),))?;
    deeper.join()??;
    assert_eq!(total.get(), 337);
    Ok(())
}

//! A cook and guests share a table with three places. A process that finds it full, or empty, sleeps until that has changed.

use crossproc::{Condition, Process, Result, Value};

const PLACES: u32 = 3;
const DISHES: u32 = 30;

/// What is on the table, and how it went so far. Plain data: it lives in shared memory.
#[derive(Clone, Copy, Debug, Default)]
struct Table([u32; 3]);

impl Table {
    fn dishes(&mut self) -> &mut u32 {
        &mut self.0[0]
    }
    fn eaten(&mut self) -> &mut u32 {
        &mut self.0[1]
    }
    fn most(&mut self) -> &mut u32 {
        &mut self.0[2]
    }
}

fn eat(table: Value<[u32; 3]>, changed: Condition) -> Result<u32> {
    let mut mine = 0;
    loop {
        // The lock is given up while one waits, and held again afterwards.
        let is_empty = |table: &mut [u32; 3]| table[0] == 0 && table[1] < DISHES;
        let mut guard = changed.wait_while(table.lock()?, is_empty)?;
        let mut now = Table(*guard);
        if *now.eaten() == DISHES {
            return Ok(mine);
        }
        *now.dishes() -= 1;
        *now.eaten() += 1;
        *guard = now.0;
        drop(guard);
        changed.notify_all()?;
        mine += 1;
    }
}

fn main() -> Result<()> {
    let (table, changed) = (Value::new(Table::default().0)?, Condition::new()?);
    let spawn = |_| Process::spawn(eat, (table.clone(), changed.clone()));
    let guests = (0..3).map(spawn).collect::<std::result::Result<Vec<_>, _>>()?;
    for _ in 0..DISHES {
        let mut guard = changed.wait_while(table.lock()?, |table| table[0] == PLACES)?;
        let mut now = Table(*guard);
        *now.dishes() += 1;
        *now.most() = (*now.most()).max(*now.dishes());
        *guard = now.0;
        drop(guard);
        changed.notify_all()?;
    }
    let mut eaten = Vec::new();
    for guest in guests {
        eaten.push(guest.join()??);
    }
    println!("eaten: {eaten:?}; never more than {} dishes on the table", table.get()[2]);
    assert_eq!(eaten.iter().sum::<u32>(), DISHES);
    assert!((1..=PLACES).contains(&table.get()[2]));
    Ok(())
}

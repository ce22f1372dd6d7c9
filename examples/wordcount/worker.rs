//! A worker: this program again, which attaches to the shared objects by their names.

use crate::Failure;
use crate::corpus::Corpus;
use crate::shared::{Job, Plan, Shared};
use crate::table::{BATCH, Full, Table};
use crate::words::for_each_word;
use std::os::unix::process::parent_id;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The exit code of a worker whose table is full.
pub const FULL: u8 = 3;

/// What tells a worker from the program that the user started.
const MARK: &str = "--this-is-a-worker";

pub struct Orders {
    run: String,
    part: u32,
    /// To stall in the middle of the job of this number, for `--kill-one`.
    stall_at: Option<u64>,
}

pub fn start(shared: &Shared, part: u32, stall_at: Option<u64>) -> Result<Child, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([MARK, &shared.run, &part.to_string()]);
    command.args(stall_at.map(|number| number.to_string()));
    Ok(command.stdin(Stdio::null()).spawn()?)
}

pub fn orders() -> Option<Orders> {
    let mut args = std::env::args_os().skip(1).map(|arg| arg.into_string().ok());
    args.next()?.filter(|mark| mark == MARK)?;
    let run = args.next()??;
    let part = args.next()??.parse().ok()?;
    Some(Orders { run, part, stall_at: args.next().flatten().and_then(|number| number.parse().ok()) })
}

pub fn work(orders: &Orders) -> Result<(), Failure> {
    let shared = Shared::open(&orders.run)?;
    let plan = shared.plan.get();
    let corpus = shared.corpus()?;
    let parts = shared.tables.parts(plan.parts as usize)?;
    // Held until the end of the job: if this process is killed, the part is marked.
    let mut items = parts[orders.part as usize].lock()?;
    let mut table = Table::new(&mut items, plan.room);
    let mut buffer = Vec::new();
    let mut taken = 0;
    while let Some(job) = shared.take_job(&plan, orders.part) {
        taken += 1;
        let stalls = orders.stall_at == Some(taken);
        let file = corpus.files[job as usize % corpus.files.len()];
        count(&corpus, job, &mut buffer, &mut table, stalls).map_err(|Full| Failure::Full)?;
        if stalls {
            stall(&shared, &plan);
        }
        shared.bytes_done.fetch_add(file.size, Relaxed);
        if parent_id() != plan.parent {
            return Ok(()); // nobody would look at the result
        }
    }
    if orders.stall_at.is_some() {
        stall(&shared, &plan); // the others were faster
    }
    table.sort();
    Ok(())
}

/// Adds the words of a file; only the first half of it, if the worker is to be killed then.
fn count(corpus: &Corpus, job: Job, buffer: &mut Vec<u8>, table: &mut Table, half: bool) -> Result<(), Full> {
    let path = corpus.path(corpus.files[job as usize % corpus.files.len()]);
    buffer.clear();
    let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read_to_end(&mut file, buffer));
    let Some(text) = read.ok().and_then(|_| std::str::from_utf8(buffer).ok()) else {
        table.totals.skipped += 1;
        return Ok(());
    };
    let end = (text.len() / 2..).find(|at| text.is_char_boundary(*at)).filter(|_| half).unwrap_or(text.len());
    let words = add_words(&text[..end], table)?;
    table.totals.files += 1;
    table.totals.bytes += text.len() as u64;
    table.totals.words += words;
    Ok(())
}

/// Gives the number of words.
fn add_words(text: &str, table: &mut Table) -> Result<u64, Full> {
    let (mut batch, mut waiting, mut words) = ([&[][..]; BATCH], 0, 0);
    for_each_word(text, |word| {
        batch[waiting] = word;
        waiting += 1;
        if waiting < BATCH {
            return Ok(());
        }
        words += BATCH as u64;
        waiting = 0;
        table.add_all(&batch)
    })?;
    table.add_all(&batch[..waiting])?;
    Ok(words + waiting as u64)
}

/// Waits to be killed, with the lock held and a file half counted.
fn stall(shared: &Shared, plan: &Plan) {
    shared.stalled.store(1, Relaxed);
    while parent_id() == plan.parent {
        std::thread::sleep(Duration::from_millis(5));
    }
}

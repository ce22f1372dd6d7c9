//! A worker: a function that the parent starts in a process of its own.

use crate::Failure;
use crate::shared::Shared;
use crate::table::{BATCH, Full, Slot, Table};
use crate::words::for_each_word;
use crossproc::{Atomic, Part};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

/// Counts files until there are no more. With `stall_at` it stalls in the middle of the job of this number, to be
/// killed.
pub fn work(shared: Shared, number: u32, part: Part<Slot>, stall_at: Option<u64>) -> Result<(), Failure> {
    let corpus = shared.corpus()?;
    // Held until the end of the job: if this process is killed, the part is marked.
    let mut items = part.lock()?;
    let mut table = Table::new(&mut items, shared.room);
    let mut buffer = Vec::new();
    let mut taken = 0;
    while let Some(job) = shared.take_job(number)? {
        taken += 1;
        let stalls = stall_at == Some(taken);
        let file = corpus.file(job);
        count(corpus.path(file), &mut buffer, &mut table, stalls).map_err(|Full| Failure::Full)?;
        if stalls {
            stall(&shared.stalled);
        }
        shared.bytes_done.fetch_add(file.size, Relaxed);
    }
    if stall_at.is_some() {
        stall(&shared.stalled); // the others were faster
    }
    table.sort();
    Ok(())
}

/// Adds the words of a file; only the first half of it, if the worker is to be killed then.
fn count(path: &Path, buffer: &mut Vec<u8>, table: &mut Table, half: bool) -> Result<(), Full> {
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
fn stall(stalled: &Atomic<u32>) -> ! {
    stalled.store(1, Relaxed);
    loop {
        std::thread::park();
    }
}

//! What came out: the tables of all workers merged.

use crate::Failure;
use crate::args::Args;
use crate::table::{Room, Slot, Sorted, Totals, merge};
use crossproc::Array;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;
use std::time::Instant;

pub fn print(tables: &Array<Slot>, room: Room, args: &Args, start: Instant) -> Result<(), Failure> {
    let items = tables.lock()?; // the parts of all workers at once
    let tables: Vec<_> = items.chunks_exact(room.items()).map(|part| Sorted::new(part, room)).collect();
    let totals = tables.iter().map(|table| *table.totals).fold(Totals::default(), sum);
    let mut digest = Lines::default();
    let mut top = BinaryHeap::new();
    let mut distinct = 0_u64;
    merge(tables, |word, count| {
        distinct += 1;
        digest.add(word, count);
        let entry = (Reverse(count), word);
        if top.len() < args.top {
            top.push(entry);
        } else if top.peek().is_some_and(|last| entry < *last) {
            top.pop();
            top.push(entry);
        }
    });
    let Totals { files, skipped, bytes, words } = totals;
    let digest = digest.finish(&format!("files {files} bytes {bytes} words {words} distinct {distinct}\n"));
    let seconds = start.elapsed().as_secs_f64();
    let mut out = std::io::stdout().lock();
    for (Reverse(count), word) in top.into_sorted_vec() {
        writeln!(out, "{count:>12} {}", String::from_utf8_lossy(word))?;
    }
    writeln!(out, "files: {files}, skipped: {skipped}, bytes: {bytes}, words: {words}, distinct: {distinct}")?;
    let rate = bytes as f64 / 1e6 / seconds;
    writeln!(out, "processes: {}, seconds: {seconds:.3}, MB/s: {rate:.1}", args.processes())?;
    writeln!(out, "digest: {digest}")?;
    Ok(())
}

fn sum(a: Totals, b: Totals) -> Totals {
    Totals {
        files: a.files + b.files,
        skipped: a.skipped + b.skipped,
        bytes: a.bytes + b.bytes,
        words: a.words + b.words,
    }
}

/// SHA-256 of lines `word count`, in the order of the words' bytes, and of a last line with the totals.
#[derive(Default)]
struct Lines {
    hash: Sha256,
    pending: Vec<u8>,
}

impl Lines {
    fn add(&mut self, word: &[u8], count: u64) {
        self.pending.extend_from_slice(word);
        self.pending.push(b' ');
        self.add_number(count);
        self.pending.push(b'\n');
        if self.pending.len() > 1 << 16 {
            self.hash.update(&self.pending);
            self.pending.clear();
        }
    }

    fn add_number(&mut self, number: u64) {
        if number > 9 {
            self.add_number(number / 10);
        }
        self.pending.push(b'0' + (number % 10) as u8);
    }

    fn finish(mut self, last: &str) -> String {
        self.hash.update(&self.pending);
        self.hash.update(last);
        self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

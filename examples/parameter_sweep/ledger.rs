//! The results so far: a line for each, written as a whole or not counted.

use crate::model::Point;
use crossproc::Result;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

pub struct Ledger {
    file: File,
    /// By the text of the point: another grid, or another number of paths, is another point.
    known: HashMap<String, u64>,
}

fn key(point: &Point) -> String {
    let Point { number, strike, volatility, paths } = point;
    format!("{number} {strike} {volatility} {paths}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Eight digits are enough to see that a line was cut off.
fn checksum(text: &str) -> String {
    hex(&Sha256::digest(text)[..4])
}

/// The point and the bits of the price, if the line is whole.
fn parse(line: &str) -> Option<(String, u64)> {
    let (text, sum) = line.rsplit_once(' ')?;
    let (key, bits) = text.rsplit_once(' ')?;
    (checksum(text) == sum).then_some((key.to_owned(), u64::from_str_radix(bits, 16).ok()?))
}

impl Ledger {
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // What was being written when the program was killed goes: only the last line can be cut off.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        // A line that the disk has spoilt has a wrong checksum; its point is done again.
        let known = String::from_utf8_lossy(&bytes[..whole]).lines().filter_map(parse).collect();
        Ok(Ledger { file, known })
    }

    pub fn get(&self, point: &Point) -> Option<f64> {
        self.known.get(&key(point)).copied().map(f64::from_bits)
    }

    /// One write, one line.
    pub fn add(&mut self, point: &Point, price: f64) -> Result<()> {
        let text = format!("{} {:016x}", key(point), price.to_bits());
        self.file.write_all(format!("{text} {}\n", checksum(&text)).as_bytes())?;
        self.known.insert(key(point), price.to_bits());
        Ok(())
    }

    /// Of the results at these points, in their order.
    pub fn digest(&self, points: &[Point]) -> Result<String> {
        let mut digest = Sha256::new();
        for point in points {
            let price = self.get(point).ok_or("a point without a result")?;
            digest.update(price.to_bits().to_le_bytes());
        }
        Ok(hex(&digest.finalize()))
    }
}

//! Messages of many bytes: the item's number stands in the first and the last word, and in one between that it chooses.
//! So a torn, shifted or stale message is found, and checking costs nothing beside a copy.

use super::{BATCH, Ends};
use anyhow::{Result, ensure};

/// Bytes that a channel for messages holds: a few of the largest, or as many as a pipe holds unless asked.
pub fn room(length: usize) -> usize {
    (4 * length).max(256 << 10)
}

/// Between two looks at the clock about as many bytes at every length.
pub fn in_rounds<P, C>(length: usize, ends: Ends<P, C>) -> Ends<P, C> {
    let round = ((32 << 20) / length as u64).clamp(1, 4 * BATCH);
    Ends { round, ..ends }
}

/// Where the third number stands, in words.
#[inline(always)]
fn between(number: u64, length: usize) -> usize {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % (length / 8)
}

#[inline(always)]
fn word(at: usize) -> std::ops::Range<usize> {
    8 * at..8 * at + 8
}

/// Into a message that was copied from somewhere: three words.
#[inline(always)]
pub fn mark(message: &mut [u8], number: u64) {
    let middle = between(number, message.len());
    message[word(middle)].copy_from_slice(&number.to_le_bytes());
    mark_ends(message, number);
}

/// Into a message that is written in place: 16 bytes, as one who has little to say.
#[inline(always)]
pub fn mark_ends(message: &mut [u8], number: u64) {
    let last = message.len() / 8 - 1;
    message[word(0)].copy_from_slice(&number.to_le_bytes());
    message[word(last)].copy_from_slice(&number.to_le_bytes());
}

#[inline(always)]
fn number_at(message: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&message[word(at)]);
    u64::from_le_bytes(bytes)
}

/// The number of a message that has its three words.
#[inline(always)]
pub fn number(message: &[u8], length: usize) -> Result<u64> {
    let number = ends(message, length)?;
    ensure!(number_at(message, between(number, length)) == number, "wrong result: message {number} is torn");
    Ok(number)
}

/// The number of a message that has its two words.
#[inline(always)]
pub fn ends(message: &[u8], length: usize) -> Result<u64> {
    ensure!(message.len() == length, "wrong result: {} bytes, not {length}", message.len());
    let number = number_at(message, 0);
    ensure!(number_at(message, length / 8 - 1) == number, "wrong result: message {number} is torn");
    Ok(number)
}

//! A table of words and their counts, in one part of a shared array.
//!
//! # Layout
//! ```text
//! item 0            Totals
//!      1..          slots: open addressing by linear probing; sorted by word, without gaps, once the worker is done
//!      ...          text: the words themselves, one after the other
//! ```
//! All three lie in one part, under one lock, so that a death leaves one mark, and one repair empties the table.

use crossproc::bytemuck::{self, Pod, Zeroable};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// A word and how often it was seen. All zeros: a free slot.
#[derive(Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "crossproc::bytemuck")]
#[repr(C)]
pub struct Slot {
    /// Up to 16 bytes these and the length are the word, so that the text need not be looked at.
    key: [u64; 2],
    count: u64,
    at: u32,
    len: u32,
}

/// What a worker counted beside the words. As large as a slot, whose place it takes.
#[derive(Clone, Copy, Default, Debug, PartialEq, Pod, Zeroable)]
#[bytemuck(crate = "crossproc::bytemuck")]
#[repr(C)]
pub struct Totals {
    pub files: u64,
    pub skipped: u64,
    pub bytes: u64,
    pub words: u64,
}

/// How large a table is.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Room {
    words: u64,
    text: u64,
}

impl Room {
    /// Bytes of text for each word: source code has about 32.
    const TEXT_PER_WORD: u64 = 32;

    pub fn for_words(words: u64) -> Self {
        Room { words, text: (words * Self::TEXT_PER_WORD).min(u32::MAX.into()) }
    }

    /// A guess, generous for source code; other text has fewer words. A worker that runs out of room says so.
    pub fn for_corpus(bytes: u64, workers: u64) -> Self {
        let share = bytes / workers.div_ceil(2);
        // The longer a text, the rarer are new words in it (Heaps' law).
        let words = 8.0 * (share as f64).powf(0.64);
        Room::for_words((words as u64).max(1 << 14))
    }

    pub fn doubled(self) -> Self {
        Room::for_words(self.words * 2)
    }

    pub fn words(self) -> u64 {
        self.words
    }

    /// Three quarters of the slots are filled when the table is full.
    fn slots(self) -> usize {
        self.words as usize * 4 / 3 + 1
    }

    /// The items of the array that hold one table.
    pub fn items(self) -> usize {
        1 + self.slots() + (self.text as usize).div_ceil(size_of::<Slot>())
    }
}

/// How many words are added together.
pub const BATCH: usize = 32;

/// There is no room for another word.
#[derive(Debug)]
pub struct Full;

/// A table that is being filled, in place.
pub struct Table<'a> {
    pub totals: &'a mut Totals,
    slots: &'a mut [Slot],
    text: &'a mut [u8],
    used: usize,
    most: usize,
    text_used: usize,
}

impl<'a> Table<'a> {
    /// An empty table in items that are all zeros.
    pub fn new(items: &'a mut [Slot], room: Room) -> Self {
        let (totals, items) = items.split_first_mut().expect("a table has items");
        let (slots, text) = items.split_at_mut(room.slots());
        let (totals, text) = (bytemuck::cast_mut(totals), bytemuck::cast_slice_mut(text));
        Table { totals, slots, text, used: 0, most: room.words as usize, text_used: 0 }
    }

    /// Counts each of up to `BATCH` words once more.
    #[inline]
    pub fn add_all(&mut self, words: &[&[u8]]) -> Result<(), Full> {
        // Most of the time goes into waiting for memory: the slots of the whole batch are fetched at once.
        let mut places = [([0; 2], 0); BATCH];
        let mut touched = 0;
        for (place, word) in places.iter_mut().zip(words) {
            let key = key(word);
            *place = (key, home(key, word.len(), self.slots.len()));
            touched |= self.slots[place.1].count;
        }
        std::hint::black_box(touched);
        places.iter().zip(words).try_for_each(|((key, home), word)| self.add(*key, *home, word))
    }

    #[inline]
    fn add(&mut self, key: [u64; 2], home: usize, word: &[u8]) -> Result<(), Full> {
        let mut at = home;
        loop {
            let slot = &mut self.slots[at];
            if slot.count == 0 {
                return self.insert(at, key, word);
            }
            if slot.key == key && slot.len as usize == word.len() && (word.len() <= 16 || slot.word(self.text) == word)
            {
                slot.count += 1;
                return Ok(());
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    #[cold]
    fn insert(&mut self, at: usize, key: [u64; 2], word: &[u8]) -> Result<(), Full> {
        let place = self.text.get_mut(self.text_used..self.text_used + word.len()).ok_or(Full)?;
        if self.used == self.most {
            return Err(Full);
        }
        place.copy_from_slice(word);
        self.slots[at] = Slot { key, count: 1, at: self.text_used as u32, len: word.len() as u32 };
        self.used += 1;
        self.text_used += word.len();
        Ok(())
    }

    /// Ends the counting: the words move to the front, in order, so that tables can be merged.
    pub fn sort(self) {
        let mut filled = 0;
        for i in 0..self.slots.len() {
            if self.slots[i].count != 0 {
                self.slots.swap(filled, i);
                filled += 1;
            }
        }
        let text = self.text[..self.text_used].to_vec();
        let slots = &mut self.slots[..filled];
        slots.iter_mut().for_each(|slot| slot.key = prefix(slot.word(&text)));
        slots.sort_unstable_by(|a, b| a.order(&text, b, &text));
        // The text follows in the same order, so that the merge reads it from front to back.
        let mut end = 0;
        for slot in slots {
            let start = end;
            end += slot.len as usize;
            self.text[start..end].copy_from_slice(slot.word(&text));
            slot.at = start as u32;
        }
    }
}

/// A table whose worker is done.
#[derive(Clone, Copy)]
pub struct Sorted<'a> {
    pub totals: &'a Totals,
    slots: &'a [Slot],
    text: &'a [u8],
}

impl<'a> Sorted<'a> {
    pub fn new(items: &'a [Slot], room: Room) -> Self {
        let (totals, items) = items.split_first().expect("a table has items");
        let (slots, text) = items.split_at(room.slots());
        let slots = &slots[..slots.partition_point(|slot| slot.count != 0)];
        Sorted { totals: bytemuck::cast_ref(totals), slots, text: bytemuck::cast_slice(text) }
    }

    pub fn is_empty(&self) -> bool {
        *self.totals == Totals::default()
    }

    /// Takes the first word off.
    fn pop(&mut self) -> Option<&'a Slot> {
        let (first, rest) = self.slots.split_first()?;
        self.slots = rest;
        Some(first)
    }
}

/// Calls `each` with every word of the tables in order, and how often they have it all together.
pub fn merge<'a>(mut tables: Vec<Sorted<'a>>, mut each: impl FnMut(&'a [u8], u64)) {
    loop {
        let firsts = tables.iter().filter_map(|table| Some((table.slots.first()?, table.text)));
        let Some((least, text)) = firsts.min_by(|(a, a_text), (b, b_text)| a.order(a_text, b, b_text)) else { return };
        let mut count = 0;
        for table in &mut tables {
            if table.slots.first().is_some_and(|slot| slot.order(table.text, least, text).is_eq()) {
                count += table.pop().map_or(0, |slot| slot.count);
            }
        }
        each(least.word(text), count);
    }
}

impl Slot {
    #[inline]
    fn word<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.at as usize..][..self.len as usize]
    }

    /// Of slots that are sorted, so have a prefix for a key.
    #[inline]
    fn order(&self, text: &[u8], other: &Slot, other_text: &[u8]) -> Ordering {
        self.key.cmp(&other.key).then_with(|| self.word(text).cmp(other.word(other_text)))
    }
}

/// The first 16 bytes, as numbers that compare like them.
fn prefix(word: &[u8]) -> [u64; 2] {
    let mut bytes = [0; 16];
    let len = word.len().min(16);
    bytes[..len].copy_from_slice(&word[..len]);
    let number = u128::from_be_bytes(bytes);
    [(number >> 64) as u64, number as u64]
}

/// Two numbers that are equal for equal words; up to 16 bytes, only for them.
#[inline]
fn key(word: &[u8]) -> [u64; 2] {
    let eight = |at: usize| u64::from_le_bytes(word[at..at + 8].try_into().expect("eight bytes"));
    let four = |at: usize| u64::from(u32::from_le_bytes(word[at..at + 4].try_into().expect("four bytes")));
    match word.len() {
        0..4 => [word.iter().fold(0, |key, byte| key << 8 | u64::from(*byte)), 0],
        len @ 4..=8 => [four(0), four(len - 4)],
        len @ 9..=16 => [eight(0), eight(len - 8)],
        len => {
            let rest = (8..len - 8).step_by(8).fold(eight(len - 8), |hash, at| mix(hash, eight(at)));
            [eight(0), rest]
        }
    }
}

/// Any odd numbers: digits of the golden ratio and of pi.
const SEED: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0x2438_6a88_85a3_08d3];

/// Both halves of the product, folded: each bit of the result depends on all of both.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ SEED[0]) * u128::from(b ^ SEED[1]);
    product as u64 ^ (product >> 64) as u64
}

/// The slot where the search for a word begins.
#[inline]
fn home(key: [u64; 2], len: usize, slots: usize) -> usize {
    let hash = mix(key[0], key[1]).wrapping_add(len as u64).wrapping_mul(SEED[0]);
    ((u128::from(hash) * slots as u128) >> 64) as usize
}

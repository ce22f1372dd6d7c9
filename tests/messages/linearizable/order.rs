//! A search for one order of the calls of a history that explains every result.
//!
//! The order must agree with the times: a call that ended before another one began comes first. The last call of a
//! killed process may have taken effect or not, at any time after its beginning. The search (of Wing and Gong) takes
//! one call of one process at a time and never visits a place twice: how far each process is, and what the queue
//! contains. So it decides exactly; many short histories keep it small.

use std::collections::HashSet;

pub const NEVER: u64 = u64::MAX;

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Put(u64),
    Full,
    /// Items that came out together; a killed process cannot say which.
    Get(Vec<u64>),
    Lost(usize), // at most so many
    Empty,
    /// `len` looks at the head, then at the tail: others may come in between, and its answer is that of two moments.
    Head,
    Tail(u64),
}
use What::{Empty, Full, Get, Head, Lost, Put, Tail};

#[derive(Clone, Debug)]
pub struct Call {
    pub begun: u64,
    pub ended: u64,
    pub what: What,
}

/// A place of the search.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    next: Vec<usize>, // call of each process
    inside: Vec<u64>,
    out: u64,        // how many items have come out
    heads: Vec<u64>, // `out` when each process looked at the head
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Explained,
    Impossible,
    TooLarge,
}

/// Looks for an order. Each process is a list of its calls in their order.
pub fn judge(history: &[Vec<Call>], capacity: usize) -> Verdict {
    const MOST: usize = 500_000;
    let n = history.len();
    let mut todo = vec![Place { next: vec![0; n], inside: vec![], out: 0, heads: vec![0; n] }];
    let mut met = HashSet::new();
    while let Some(place) = todo.pop() {
        if met.len() > MOST {
            return Verdict::TooLarge;
        }
        let open: Vec<_> = (0..n).filter_map(|i| Some((i, history[i].get(place.next[i])?))).collect();
        let deadline = open.iter().map(|(_, call)| call.ended).min().unwrap_or(NEVER);
        if deadline == NEVER {
            return Verdict::Explained; // what is left are calls of killed ones
        }
        // The one that ended first is tried first: mostly it was the first.
        let mut can: Vec<_> = open.into_iter().filter(|(_, call)| call.begun <= deadline).collect();
        can.sort_unstable_by_key(|(_, call)| std::cmp::Reverse(call.ended));
        for (i, call) in can {
            for after in place.after(i, &call.what, capacity) {
                if met.insert(after.clone()) {
                    todo.push(after);
                }
            }
        }
    }
    Verdict::Impossible
}

impl Place {
    /// Where one call leads to: nowhere, if its answer would be wrong here.
    fn after(&self, i: usize, what: &What, capacity: usize) -> Vec<Place> {
        let mut after = self.clone();
        after.next[i] += 1;
        let fits = match what {
            Put(item) => {
                after.inside.push(*item);
                self.inside.len() < capacity
            }
            Full => self.inside.len() == capacity,
            Get(items) => {
                let so = self.inside.starts_with(items);
                after.take_out(if so { items.len() } else { 0 });
                so
            }
            Lost(most) => {
                let taken = |count| {
                    let mut after = after.clone();
                    after.take_out(count);
                    after
                };
                return (1..=self.inside.len().min(*most)).map(taken).collect();
            }
            Empty => self.inside.is_empty(),
            Head => {
                after.heads[i] = self.out;
                true
            }
            Tail(len) => {
                let seen = std::mem::take(&mut after.heads[i]);
                *len == (self.out - seen + self.inside.len() as u64).min(capacity as u64)
            }
        };
        if fits { vec![after] } else { vec![] }
    }

    fn take_out(&mut self, count: usize) {
        self.inside.drain(..count);
        self.out += count as u64;
    }
}

/// A call: its process, its beginning and end, and its kind.
type Row = (usize, u64, u64, What);

fn verdict(capacity: usize, rows: &[Row]) -> Verdict {
    let mut history = vec![vec![]; 4];
    for (process, begun, ended, what) in rows.iter().cloned() {
        history[process].push(Call { begun, ended, what });
    }
    judge(&history, capacity)
}

#[test]
fn good_histories_are_explained() {
    let good: &[(usize, &[Row])] = &[
        (1, &[]),
        (2, &[(0, 1, 2, Put(7)), (1, 3, 4, Get(vec![7])), (1, 5, 6, Empty)]),
        // Out before the end of its put, which may go on for long.
        (2, &[(0, 1, 9, Put(7)), (1, 2, 3, Get(vec![7])), (1, 4, 5, Empty)]),
        // Two puts at the same time come out in either order.
        (2, &[(0, 1, 4, Put(7)), (1, 2, 3, Put(8)), (2, 5, 6, Get(vec![7, 8]))]),
        (2, &[(0, 1, 4, Put(7)), (1, 2, 3, Put(8)), (2, 5, 6, Get(vec![8])), (2, 7, 8, Get(vec![7]))]),
        (
            1,
            &[(0, 1, 2, Put(7)), (0, 3, 4, Full), (1, 5, 8, Get(vec![7])), (0, 6, 7, Put(8)), (2, 9, 10, Get(vec![8]))],
        ),
        // The put of a killed process: in or not. The get of one: an item is gone or not.
        (2, &[(0, 1, NEVER, Put(7)), (1, 2, 3, Empty), (1, 4, 5, Get(vec![7]))]),
        (2, &[(0, 1, NEVER, Put(7)), (1, 2, 3, Empty)]),
        (2, &[(0, 1, 2, Put(7)), (0, 3, 4, Put(8)), (2, 5, NEVER, Lost(1)), (1, 6, 7, Get(vec![8]))]),
        (2, &[(0, 1, 2, Put(7)), (2, 3, NEVER, Lost(3)), (1, 4, 5, Get(vec![7])), (1, 6, 7, Empty)]),
        (2, &[(0, 1, 2, Put(7)), (1, 3, 4, Head), (1, 3, 4, Tail(1))]),
        // Between the two looks one came out and one went in.
        (4, &[(0, 1, 2, Put(7)), (1, 3, 9, Head), (1, 3, 9, Tail(2)), (0, 4, 5, Get(vec![7])), (0, 6, 7, Put(8))]),
    ];
    for (capacity, rows) in good {
        assert_eq!(verdict(*capacity, rows), Verdict::Explained, "{rows:?}");
    }
}

#[test]
fn bad_histories_are_refused() {
    let bad: &[(&str, usize, &[Row])] = &[
        ("twice", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Get(vec![7])), (2, 3, 4, Get(vec![7]))]),
        ("twice at once", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Get(vec![7, 7]))]),
        ("out of nothing", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Get(vec![8]))]),
        ("before its put", 2, &[(1, 1, 2, Get(vec![7])), (0, 3, 4, Put(7))]),
        ("before the put of one that is killed", 2, &[(1, 1, 2, Get(vec![7])), (0, 3, NEVER, Put(7))]),
        ("lost", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Empty)]),
        ("overtaken", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Put(8)), (2, 5, 6, Get(vec![8])), (2, 7, 8, Get(vec![7]))]),
        ("overtaken for ever", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Put(8)), (2, 5, 6, Get(vec![8])), (2, 7, 8, Empty)]),
        ("overtaken at once", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Put(8)), (2, 5, 6, Get(vec![8, 7]))]),
        ("empty while one is in", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Empty), (2, 5, 6, Get(vec![7]))]),
        (
            "empty while one of two is in",
            2,
            &[
                (0, 1, 2, Put(7)),
                (1, 3, 9, Get(vec![7])),
                (0, 3, 4, Put(8)),
                (2, 5, 6, Empty),
                (2, 10, 11, Get(vec![8])),
            ],
        ),
        ("full while there is room", 2, &[(0, 1, 2, Put(7)), (0, 3, 4, Full)]),
        ("more than fit", 1, &[(0, 1, 2, Put(7)), (0, 3, 4, Put(8)), (1, 5, 6, Get(vec![7, 8]))]),
        ("one killed took two", 2, &[(0, 1, 2, Put(7)), (0, 3, 4, Put(8)), (1, 5, NEVER, Lost(1)), (2, 6, 7, Empty)]),
        (
            "one killed took the second",
            2,
            &[
                (0, 1, 2, Put(7)),
                (0, 3, 4, Put(8)),
                (1, 5, NEVER, Lost(1)),
                (2, 6, 7, Get(vec![7])),
                (2, 8, 9, Empty),
                (3, 10, 11, Get(vec![8])),
            ],
        ),
        ("one killed came back", 2, &[(0, 1, NEVER, Put(7)), (1, 2, 3, Get(vec![7])), (1, 4, 5, Get(vec![7]))]),
        ("too long", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Head), (1, 3, 4, Tail(2))]),
        ("too short", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Head), (1, 3, 4, Tail(0))]),
    ];
    for (name, capacity, rows) in bad {
        assert_eq!(verdict(*capacity, rows), Verdict::Impossible, "{name}: {rows:?}");
    }
}

//! Linearizability of `SimpleQueue` and `Queue`: several processes record the beginning, the end and the result of each
//! call, some are killed on the way, and a search looks for one order of all calls that explains every result.
//!
//! `CROSSPROC_HISTORIES_SECONDS` is the time for which histories are made.

mod fifo;
mod order;
mod record;

use crate::util::{Random, within};
use crossproc::{Queue, SimpleQueue};
use fifo::Fifo;
use order::{Call, NEVER, Verdict, What::Get, judge};
use record::{Plan, record};
use std::time::{Duration, Instant};

const PLANS: [Plan; 6] = [
    Plan { capacity: 1, putters: 2, getters: 2, calls: 30, kills: 0 },
    Plan { capacity: 2, putters: 3, getters: 2, calls: 20, kills: 1 },
    Plan { capacity: 3, putters: 2, getters: 3, calls: 20, kills: 2 },
    Plan { capacity: 8, putters: 3, getters: 3, calls: 15, kills: 2 },
    Plan { capacity: 2, putters: 1, getters: 4, calls: 40, kills: 1 },
    Plan { capacity: 4, putters: 4, getters: 1, calls: 20, kills: 1 },
];

fn every_history_has_an_order<Q: Fifo>() {
    let seconds = std::env::var("CROSSPROC_HISTORIES_SECONDS").map_or(5, |seconds| seconds.parse().unwrap());
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    let (mut count, mut total, mut killed, mut too_large) = (0, 0, 0, 0);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let plan = &PLANS[count % PLANS.len()];
        within(60, || {
            let history = record::<Q>(plan, &mut random);
            total += history.iter().map(Vec::len).sum::<usize>();
            killed += history.iter().flatten().filter(|call| call.ended == NEVER).count();
            let verdict = judge(&history, plan.capacity);
            assert_ne!(verdict, Verdict::Impossible, "history {count}, capacity {}: {history:#?}", plan.capacity);
            too_large += usize::from(verdict == Verdict::TooLarge);
        });
        count += 1;
    }
    println!("{count} histories, {total} calls, {killed} of them cut off, {too_large} histories too large");
    assert!(too_large * 10 <= count, "{too_large} of {count} were not decided");
}

#[test]
fn every_history_of_a_simple_queue_has_an_order() {
    every_history_has_an_order::<SimpleQueue<u64>>();
}

#[test]
fn every_history_of_a_queue_has_an_order() {
    every_history_has_an_order::<Queue<u64>>();
}

/// A sheet that says what really happened, but for two answers that were exchanged, has no order.
#[test]
fn a_history_with_two_answers_exchanged_is_refused() {
    within(60, || {
        let plan = Plan { capacity: 4, putters: 1, getters: 1, calls: 30, kills: 0 };
        let mut history = record::<SimpleQueue<u64>>(&plan, &mut Random(5));
        assert_eq!(judge(&history, plan.capacity), Verdict::Explained);
        let is_get = |call: &Call| matches!(call.what, Get(_));
        let got: Vec<_> = history.concat().iter().filter(|call| is_get(call)).cloned().collect();
        assert!(got.len() >= 2, "{history:?}");
        for call in history.iter_mut().flatten() {
            if call.what == got[0].what {
                call.what = got[got.len() - 1].what.clone();
            } else if call.what == got[got.len() - 1].what {
                call.what = got[0].what.clone();
            }
        }
        assert_eq!(judge(&history, plan.capacity), Verdict::Impossible);
    });
}

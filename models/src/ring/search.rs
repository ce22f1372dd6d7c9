//! The search through every state that can be reached.

use super::state::*;
use crate::fx::Fx;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::BuildHasherDefault;

impl State {
    /// Returns the error in a state in which neither a thread nor the kernel has a step.
    fn is_stuck(&self) -> bool {
        let used = self.end().wrapping_sub(self.head);
        self.threads.iter().filter(|t| t.at == At::Asleep).any(|t| match t.role {
            _ if t.on_lock => self.words[t.pending] & TID == 0,
            Get => used > 0,
            _ => used < self.capacity,
        })
    }

    /// All that can come next, and the rule that this state breaks.
    fn expand(&self, out: &mut Next) -> Option<&'static str> {
        let before = out.len();
        let private = self.threads.iter().position(Thread::is_private);
        let movers = private.map_or(0..THREADS, |i| i..i + 1);
        movers.clone().for_each(|i| self.step(i, out));
        let stuck = out.len() == before && self.is_stuck();
        movers.for_each(|i| self.mishap(i, out));
        out[before..].iter_mut().for_each(|(n, _)| *n = n.canonical());
        self.broken.then_some("broken").or(stuck.then_some("stuck"))
    }

    /// Follows every run from here, depth first, and finds the strongly connected parts on the way (Tarjan): a wake
    /// inside one can come again and again. Returns the number of states, and the rules that are broken.
    pub fn explore(self) -> (usize, Vec<&'static str>) {
        const OVER: u32 = u32::MAX;
        let mut met = HashMap::<Key, u32, BuildHasherDefault<Fx>>::default();
        let (mut lowest, mut open, mut found) = (vec![], vec![], vec![]);
        let mut todo = vec![(self.canonical(), false)];
        let mut path: Vec<(u32, usize, bool)> = vec![]; // a state, where its successors begin, whether a wake led to it
        // Of a mistake one consequence is enough.
        while self.changes == 0 || found.is_empty() {
            let from = path.last().map_or(0, |last| last.1);
            if todo.len() > from {
                let (state, woke) = todo.pop().unwrap();
                let new = lowest.len() as u32;
                match met.entry(state.pack()) {
                    Entry::Vacant(entry) => {
                        entry.insert(new);
                        lowest.push(new);
                        open.push(new);
                        path.push((new, todo.len(), woke));
                        found.extend(state.expand(&mut todo));
                    }
                    Entry::Occupied(entry) if lowest[*entry.get() as usize] != OVER => {
                        let (id, last) = (*entry.get(), path.last().unwrap().0 as usize);
                        lowest[last] = lowest[last].min(lowest[id as usize]);
                        found.extend(woke.then_some("endless"));
                    }
                    Entry::Occupied(_) => {}
                }
                continue;
            }
            let Some((id, _, woke)) = path.pop() else { break };
            if lowest[id as usize] == id {
                while open.pop_if(|member| *member >= id).is_some_and(|member| {
                    lowest[member as usize] = OVER;
                    true
                }) {}
            } else {
                let last = path.last().unwrap().0 as usize;
                lowest[last] = lowest[last].min(lowest[id as usize]);
                found.extend(woke.then_some("endless"));
            }
        }
        (met.len(), found)
    }

    /// The shortest way to a state that breaks a rule, for whoever has to understand it.
    pub fn trace(self) -> String {
        let mut all = vec![(self.canonical(), 0)];
        let mut met = HashMap::<Key, (), BuildHasherDefault<Fx>>::default();
        let mut next = 0;
        while next < all.len() {
            let mut out = vec![];
            if all[next].0.expand(&mut out).is_some() {
                let mut way = vec![next];
                while way[way.len() - 1] != 0 {
                    way.push(all[way[way.len() - 1]].1);
                }
                return way.iter().rev().map(|&state| format!("{}\n", all[state].0)).collect();
            }
            out.retain(|(n, _)| met.insert(n.pack(), ()).is_none());
            all.extend(out.into_iter().map(|(n, _)| (n, next)));
            next += 1;
        }
        String::new()
    }
}

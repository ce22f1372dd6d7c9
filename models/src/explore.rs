//! Explores every run of a model: each interleaving of its threads, and each mishap in between.

use crate::fx::Fx;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasherDefault, Hash};

/// A state of a model.
pub trait Model: Copy {
    type Key: Eq + Hash;
    const THREADS: usize;

    /// The state that stands for all that differ in nothing that matters.
    fn canonical(&self) -> Self;

    /// The whole state in few integers.
    fn key(&self) -> Self::Key;

    /// Pushes the state after the next step of a thread, or each of them if the kernel has a choice; none if it rests.
    fn step(&self, thread: usize, out: &mut Vec<Self>);

    /// Pushes each state that a mishap of a thread leads to: what may happen, but never has to.
    fn mishap(&self, thread: usize, out: &mut Vec<Self>);

    /// Returns the rule that the state breaks. `is_last`: no thread has a step.
    fn broken(&self, is_last: bool) -> Option<&'static str>;
}

/// Searches depth first. Returns the number of states, and the rule that each bad one breaks: "end" if a state comes
/// back on its own path, because then a run need not end.
pub fn explore<M: Model>(start: M) -> (usize, Vec<&'static str>) {
    let mut met = HashMap::<_, _, BuildHasherDefault<Fx>>::default(); // state -> whether it is on the path
    let mut stack = vec![(start.canonical(), false)];
    let (mut out, mut found) = (vec![], vec![]);
    while let Some((state, leave)) = stack.pop() {
        match met.entry(state.key()) {
            Entry::Occupied(on_path) if leave => *on_path.into_mut() = false,
            Entry::Occupied(on_path) => found.extend(on_path.get().then_some("end")),
            Entry::Vacant(new) => {
                new.insert(true);
                stack.push((state, true));
                (0..M::THREADS).for_each(|i| state.step(i, &mut out));
                found.extend(state.broken(out.is_empty()));
                (0..M::THREADS).for_each(|i| state.mishap(i, &mut out));
                stack.extend(out.drain(..).map(|n| (n.canonical(), false)));
            }
        }
    }
    (met.len(), found)
}

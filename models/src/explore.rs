//! Follows every run of a model: each interleaving of its threads, and each mishap in between.

use crate::fx::Fx;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasherDefault, Hash};

/// A state of a model.
pub trait Model: Copy {
    type Key: Eq + Hash;
    const THREADS: usize;

    /// One state for all that differ in nothing that matters.
    fn canonical(&self) -> Self;

    /// All that there is to know of it, in few integers.
    fn key(&self) -> Self::Key;

    /// Pushes the state behind the next step of a thread, or those, if the kernel has a choice; none if it rests.
    fn step(&self, thread: usize, out: &mut Vec<Self>);

    /// Pushes what may happen to a thread, but never has to.
    fn mishap(&self, thread: usize, out: &mut Vec<Self>);

    /// The rule that a state breaks. It is the last one where no thread has a step.
    fn broken(&self, is_last: bool) -> Option<&'static str>;
}

/// Depth first. Returns the number of states, and the rule that each bad one breaks: "end" is that of a state that comes
/// back on its own path, for then a run need not end.
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

//! The inputs of a job: each stays until it has its result, since a task that is lost with its worker is encoded again.

use super::protocol::codec_error;
use super::reentrancy::{caught, drop_unharmed};
use crate::error::locked;
use crate::{CodecError, Message};
use std::collections::VecDeque;
use std::sync::Mutex;

/// A mutex makes this `Sync` for inputs that are only `Send`.
pub(super) struct Inputs<A>(Mutex<InputQueue<A>>);

struct InputQueue<A> {
    /// The number of the first input in the queue.
    base: usize,
    queue: VecDeque<Input<A>>,
}

enum Input<A> {
    Stored(A),
    /// The thread that encodes it has it: no lock is held while the program's code runs (pool-H3).
    Lent,
    /// It has its result.
    Done,
}

impl<A> InputQueue<A> {
    fn at(&mut self, item: usize) -> Option<&mut Input<A>> {
        self.queue.get_mut(item.checked_sub(self.base)?)
    }

    fn lend(&mut self, item: usize) -> Option<A> {
        let place = self.at(item)?;
        match std::mem::replace(place, Input::Lent) {
            Input::Stored(input) => Some(input),
            other => {
                *place = other;
                None
            }
        }
    }

    /// Puts a lent input back. Returns it if it has its result meanwhile.
    fn put_back(&mut self, item: usize, input: A) -> Option<A> {
        match self.at(item) {
            Some(place @ Input::Lent) => {
                *place = Input::Stored(input);
                None
            }
            _ => Some(input),
        }
    }

    /// Marks an input as done. Returns what is to be dropped, or None if it was done before.
    fn finish(&mut self, item: usize) -> Option<Input<A>> {
        let input = std::mem::replace(self.at(item)?, Input::Done);
        while matches!(self.queue.front(), Some(Input::Done)) {
            self.queue.pop_front();
            self.base += 1;
        }
        (!matches!(input, Input::Done)).then_some(input)
    }
}

impl<A> Inputs<A> {
    pub(super) fn new(inputs: Vec<A>) -> Self {
        Inputs(Mutex::new(InputQueue { base: 0, queue: inputs.into_iter().map(Input::Stored).collect() }))
    }

    /// Appends inputs.
    pub(super) fn extend(&self, more: Vec<A>) {
        locked(&self.0).queue.extend(more.into_iter().map(Input::Stored));
    }

    /// Marks an input as done, and drops it. False: it was done before.
    pub(super) fn finish(&self, item: usize) -> bool {
        let finished = locked(&self.0).finish(item);
        let is_first = finished.is_some();
        drop_unharmed(finished);
        is_first
    }

    /// Runs an encoding of the program's on the inputs `from..to`, without the lock.
    pub(super) fn encode<T>(
        &self,
        from: usize,
        to: usize,
        run: impl FnOnce(&[A]) -> Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        let mut one = None; // needs no allocation
        let mut many = Vec::new();
        {
            let mut inputs = locked(&self.0);
            match to - from {
                1 => one = inputs.lend(from),
                _ => many.extend((from..to).map_while(|item| inputs.lend(item))),
            }
        }
        let lent = if to - from == 1 { one.as_slice() } else { &many };
        let result = match lent.len() == to - from {
            true => caught("encoding", || run(lent)),
            false => Err(CodecError::new("an input that is gone")),
        };
        let mut inputs = locked(&self.0);
        let lent = one.into_iter().chain(many).enumerate();
        let unwanted: Vec<A> = lent.filter_map(|(at, input)| inputs.put_back(from + at, input)).collect();
        drop(inputs);
        unwanted.into_iter().for_each(drop_unharmed);
        result
    }
}

impl<A: Message> Inputs<A> {
    /// An input, encoded; empty if it is gone or cannot be encoded.
    pub(super) fn encoded(&self, item: usize) -> Vec<u8> {
        self.encode(item, item + 1, |inputs| postcard::to_stdvec(&inputs[0]).map_err(codec_error)).unwrap_or_default()
    }
}

/// The last reference may be dropped in a thread of the pool, and two panics at once would abort.
impl<A> Drop for Inputs<A> {
    fn drop(&mut self) {
        let inputs = std::mem::take(&mut locked(&self.0).queue);
        if const { std::mem::needs_drop::<A>() } {
            inputs.into_iter().for_each(drop_unharmed);
        }
    }
}

//! A job: one call of the program, with one item or many. A job knows the types; the rest of the pool knows item
//! numbers only.

use super::completion::Completion;
use super::inputs::Inputs;
use super::protocol::{ItemOutcome, SharedId, TaskHeader, TaskId, WorkerReport, codec_error};
use super::reentrancy::{caught, unharmed_inline};
use super::running_task::{TaskTrampoline, trampoline, trampoline_with};
use super::shared_requests::{SharedRequests, ValueRequest};
use super::sinks::ResultSink;
use crate::entry::Code;
use crate::messages::codec;
use crate::messages::codec::{Encoded, Incoming};
use crate::messages::record::Record;
use crate::{CodecError, Entry, Message, TaskError};
use std::marker::PhantomData;
use std::sync::Arc;

pub(super) trait Job: Send + Sync {
    /// Encodes a task of the items `from..to`: into the record, or else into what is returned.
    fn encode(&self, task: TaskId, from: usize, to: usize, record: &mut Record) -> Result<Option<Encoded>, CodecError>;
    /// Decodes results of `count` items, starting with `from`.
    fn accept(&self, from: usize, count: usize, results: EncodedResults<'_>, completion: &dyn Completion);
    /// Gives the items `from..to` an error as their result.
    fn fail(&self, from: usize, to: usize, error: &TaskError, completion: &dyn Completion);
    /// Whether items have an index that the program knows.
    fn is_map(&self) -> bool;
    /// Whether no thread waits for the items that are not done.
    fn is_over(&self) -> bool;
    /// An item, encoded.
    fn input(&self, item: usize) -> Vec<u8>;
    /// Adds a worker's request for the shared value.
    fn request_value(&self, request: ValueRequest);
    /// Refuses later requests for the shared value.
    fn end_requests(&self);
}

/// Results of items, encoded.
pub(super) enum EncodedResults<'a> {
    /// A report; the results begin at this byte.
    Message(Incoming, usize),
    /// The result buffer of a worker that died; each result begins at a multiple of 8. This many of them are known
    /// already.
    Buffer(&'a [u8], usize),
}

/// A function as it is sent, for items of type `A`.
pub(super) struct TaskCode<A> {
    code: Code,
    shared: Option<SharedId>,
    items: PhantomData<fn(A)>,
}

fn not_in_this_program(_: crate::SpawnError) -> TaskError {
    TaskError::Encode(CodecError::new("the function is not in this program, or captures something"))
}

impl<A: Message> TaskCode<A> {
    pub(super) fn of<M, F: Entry<A, M>>(entry: F) -> Result<Self, TaskError> {
        let run: TaskTrampoline = trampoline::<A, M, F>;
        let code = Code::with::<A, M, F>(entry, run as *const () as usize).map_err(not_in_this_program)?;
        Ok(TaskCode { code, shared: None, items: PhantomData })
    }
}

impl<T: Message> TaskCode<(T,)> {
    /// A function of a shared value and an item.
    pub(super) fn with_shared<S: Message, R: Message>(
        function: fn(&S, T) -> R,
        shared: SharedId,
    ) -> Result<Self, TaskError> {
        let run: TaskTrampoline = trampoline_with::<S, T, R>;
        let code =
            Code::at(run as *const () as usize, Some(function as *const () as usize)).map_err(not_in_this_program)?;
        Ok(TaskCode { code, shared: Some(shared), items: PhantomData })
    }
}

pub(super) struct TypedJob<A, S> {
    code: Code,
    shared: Option<SharedId>,
    inputs: Inputs<A>,
    sink: S,
    pub(super) requests: SharedRequests,
}

impl<A: Message, S: ResultSink> TypedJob<A, S> {
    pub(super) fn new(task: TaskCode<A>, items: Vec<A>, sink: S) -> Arc<Self> {
        Self::with_requests(task, items, sink, SharedRequests::default())
    }

    /// A job whose shared value this thread sends to the workers that request it.
    pub(super) fn serving_value(task: TaskCode<A>, items: Vec<A>, sink: S) -> Arc<Self> {
        Self::with_requests(task, items, sink, SharedRequests::served_here())
    }

    fn with_requests(task: TaskCode<A>, items: Vec<A>, sink: S, requests: SharedRequests) -> Arc<Self> {
        let TaskCode { code, shared, .. } = task;
        Arc::new(TypedJob { code, shared, inputs: Inputs::new(items), sink, requests })
    }

    /// Appends items.
    pub(super) fn extend(&self, more: Vec<A>) {
        self.inputs.extend(more);
    }

    fn put(&self, item: usize, outcome: ItemOutcome<S::Output>, completion: &dyn Completion) {
        self.finish(item, outcome.into_result(S::IS_MAP.then_some(item)), completion);
    }

    /// Stores a result, unless the item has one. Without a lock: destructors and the sink are the program's code
    /// (pool-H3).
    fn finish(&self, item: usize, answer: Result<S::Output, TaskError>, completion: &dyn Completion) {
        if self.inputs.finish(item) {
            unharmed_inline(|| self.sink.put(item, answer, completion));
        }
    }

    /// Decodes results that follow each other, each at a multiple of `align` (a power of 2), and stores all but the
    /// first `known`. `from` is the first item that is stored. An error is that item's result, and that of all after
    /// it: where the next begins is unknown.
    fn accept_bytes(
        &self,
        (from, known, count): (usize, usize, usize),
        bytes: &[u8],
        align: usize,
        completion: &dyn Completion,
    ) {
        let mut decoded = 0;
        let result = caught("decoding", || {
            let mut at = 0;
            while decoded < known + count {
                let rest = bytes.get(at..).unwrap_or(&[]);
                let (outcome, rest) = postcard::take_from_bytes(rest).map_err(codec_error)?;
                at = (bytes.len() - rest.len() + align - 1) & !(align - 1);
                decoded += 1;
                if decoded > known {
                    self.put(from + decoded - 1 - known, outcome, completion);
                }
            }
            Ok(())
        });
        if let Err(error) = result {
            let first = from + decoded.saturating_sub(known);
            self.fail(first, from + count, &TaskError::Decode(error), completion);
        }
    }
}

impl<A: Message, S: ResultSink> Job for TypedJob<A, S> {
    fn encode(&self, task: TaskId, from: usize, to: usize, record: &mut Record) -> Result<Option<Encoded>, CodecError> {
        let TaskId { slot, generation } = task;
        let header = TaskHeader { slot, generation, code: self.code, shared: self.shared };
        self.inputs.encode(from, to, |inputs| codec::encode(&(header, inputs), record))
    }

    fn accept(&self, from: usize, count: usize, results: EncodedResults<'_>, completion: &dyn Completion) {
        match results {
            EncodedResults::Message(incoming, _) if incoming.has_handles() => {
                match caught("decoding", || incoming.decode::<(WorkerReport, ItemOutcome<S::Output>)>()) {
                    Ok((_, outcome)) => self.put(from, outcome, completion),
                    Err(error) => self.finish(from, Err(TaskError::Decode(error)), completion),
                }
            }
            EncodedResults::Message(incoming, start) => {
                let bytes = incoming.value().get(start..).unwrap_or(&[]);
                self.accept_bytes((from, 0, count), bytes, 1, completion);
            }
            EncodedResults::Buffer(bytes, known) => self.accept_bytes((from, known, count), bytes, 8, completion),
        }
    }

    fn fail(&self, from: usize, to: usize, error: &TaskError, completion: &dyn Completion) {
        for item in from..to {
            let mut error = error.clone();
            if let TaskError::Panicked { index, .. } | TaskError::WorkerDied { index, .. } = &mut error {
                *index = S::IS_MAP.then_some(item);
            }
            self.finish(item, Err(error), completion);
        }
    }

    fn is_map(&self) -> bool {
        S::IS_MAP
    }

    fn is_over(&self) -> bool {
        self.sink.is_over()
    }

    fn input(&self, item: usize) -> Vec<u8> {
        self.inputs.encoded(item)
    }

    fn request_value(&self, request: ValueRequest) {
        self.requests.push(request);
    }

    fn end_requests(&self) {
        self.requests.end();
    }
}

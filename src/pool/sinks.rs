//! Where the results of a job go: to a promise of one result, or to a promise of all results in order.

use super::completion::Completion;
use super::progress::MapProgress;
use super::promise::Promise;
use super::reentrancy::drop_unharmed;
use crate::error::locked;
use crate::{Message, TaskError};
use std::sync::{Arc, Mutex};

pub(super) trait ResultSink: Send + Sync {
    type Output: Message;
    /// Whether the items have an index that the program knows.
    const IS_MAP: bool = true;
    /// Stores the result of an item. Called once for each.
    fn put(&self, item: usize, answer: Result<Self::Output, TaskError>, completion: &dyn Completion);
    /// Whether no thread waits for the items that are not done.
    fn is_over(&self) -> bool;
}

/// The result of one item.
pub(super) struct SingleResult<R>(pub(super) Arc<Promise<R>>);

impl<R: Message> ResultSink for SingleResult<R> {
    type Output = R;
    const IS_MAP: bool = false;

    fn put(&self, _: usize, answer: Result<R, TaskError>, completion: &dyn Completion) {
        self.0.resolve(answer, completion);
    }

    fn is_over(&self) -> bool {
        self.0.is_resolved()
    }
}

/// All results of a map, in order.
pub(super) struct OrderedResults<R> {
    promise: Arc<Promise<Vec<R>>>,
    gathered: Mutex<Gathered<R>>,
    progress: Option<MapProgress>,
}

struct Gathered<R> {
    results: Vec<Option<R>>,
    /// How many results have not come.
    left: usize,
    /// The error with the lowest item number so far.
    error: Option<(usize, TaskError)>,
}

impl<R> OrderedResults<R> {
    pub(super) fn new(promise: Arc<Promise<Vec<R>>>, items: usize, progress: Option<MapProgress>) -> Self {
        let results = std::iter::repeat_with(|| None).take(items).collect();
        OrderedResults { promise, gathered: Mutex::new(Gathered { results, left: items, error: None }), progress }
    }
}

fn drop_results<R>(results: Vec<Option<R>>) {
    if const { std::mem::needs_drop::<R>() } {
        results.into_iter().for_each(drop_unharmed);
    }
}

impl<R> Drop for OrderedResults<R> {
    fn drop(&mut self) {
        drop_results(std::mem::take(&mut locked(&self.gathered).results));
    }
}

impl<R: Message> ResultSink for OrderedResults<R> {
    type Output = R;

    fn put(&self, item: usize, answer: Result<R, TaskError>, completion: &dyn Completion) {
        let mut gathered = locked(&self.gathered);
        let Gathered { results, left, error } = &mut *gathered;
        match answer {
            Ok(result) => {
                if let Some(place) = results.get_mut(item) {
                    *place = Some(result);
                }
            }
            Err(failure) if error.as_ref().is_none_or(|(first, _)| item < *first) => *error = Some((item, failure)),
            Err(_) => {}
        }
        *left -= 1;
        self.progress.iter().for_each(MapProgress::step);
        if *left > 0 {
            return;
        }
        let (results, error) = (std::mem::take(results), error.take());
        drop(gathered);
        self.progress.iter().for_each(MapProgress::end);
        let answer = match error {
            Some((_, error)) => {
                drop_results(results);
                Err(error)
            }
            None => Ok(results.into_iter().flatten().collect()),
        };
        self.promise.resolve(answer, completion);
    }

    fn is_over(&self) -> bool {
        self.promise.is_resolved()
    }
}

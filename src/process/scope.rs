//! `scope`: children that are joined at its end in any case.

use super::handle::Process;
use crate::entry::{Entry, captures_nothing};
use crate::{JoinError, Message, ScopeError, SpawnError};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

/// Starts the children of a [`scope`].
pub struct Scope<'s> {
    /// In the order of their starts, without those that were joined.
    children: Mutex<Vec<Arc<dyn Joined + Send + Sync>>>,
    of: PhantomData<&'s mut &'s ()>,
}

/// A child of a [`scope`]: joined here, or at the end of the scope.
pub struct ScopedProcess<'s, R> {
    slot: Arc<ScopeSlot<R>>,
    id: Option<u32>,
    of: PhantomData<&'s ()>,
}

/// The first to join takes the child.
struct ScopeSlot<R> {
    name: String,
    child: Mutex<Option<Result<Process<R>, SpawnError>>>,
}

trait Joined {
    fn join(&self) -> Result<(), ScopeError>;
}

impl<R> ScopeSlot<R> {
    fn take(&self) -> Option<Result<Process<R>, SpawnError>> {
        crate::error::locked(&self.child).take()
    }
}

impl<R: Message> Joined for ScopeSlot<R> {
    fn join(&self) -> Result<(), ScopeError> {
        match self.take() {
            None => Ok(()),
            Some(child) => {
                let result = child?.join();
                result.map(drop).map_err(|error| ScopeError::Child { name: self.name.clone(), error })
            }
        }
    }
}

impl std::fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl<R> std::fmt::Debug for ScopedProcess<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScopedProcess").field("name", &self.slot.name).field("id", &self.id).finish_non_exhaustive()
    }
}

impl<'s> Scope<'s> {
    /// Starts a child. A failure is reported where the child is joined: by [`ScopedProcess::join`], or at the end of
    /// the scope.
    ///
    /// ```
    /// use crossproc::{Value, scope};
    /// let total = Value::new(0_u64)?;
    /// scope(|s| {
    ///     for n in 1..=4 {
    ///         s.spawn(|total: Value<u64>, n: u64| total.update(|t| *t += n).unwrap(), (total.clone(), n));
    ///     }
    /// })?;
    /// assert_eq!(total.get(), 10);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn spawn<A: Message, M, F: Entry<A, M>>(&'s self, f: F, args: A) -> ScopedProcess<'s, F::Output> {
        const { captures_nothing::<F>() };
        let child = Process::spawn(f, args);
        let (name, id) = match &child {
            Ok(child) => (child.name().to_owned(), Some(child.id())),
            Err(_) => (String::new(), None),
        };
        let slot = Arc::new(ScopeSlot { name, child: Mutex::new(Some(child)) });
        crate::error::locked(&self.children).push(slot.clone());
        ScopedProcess { slot, id, of: PhantomData }
    }
}

impl<R: Message> ScopedProcess<'_, R> {
    /// Waits for its end, and returns what the function returned. A failure then no longer concerns the scope.
    ///
    /// # Errors
    /// [`JoinError`]; `Spawn` if it was never started.
    ///
    /// ```
    /// use crossproc::{JoinError, scope};
    /// let sum = scope(|s| {
    ///     let (a, b) = (s.spawn(|| 1, ()), s.spawn(|| 2, ()));
    ///     Ok::<_, JoinError>(a.join()? + b.join()?)
    /// })??;
    /// assert_eq!(sum, 3);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn join(self) -> Result<R, JoinError> {
        match self.slot.take() {
            Some(child) => child?.join(),
            None => Err(JoinError::Taken),
        }
    }

    /// The process id; `None` if it was not started.
    ///
    /// ```
    /// let ids = crossproc::scope(|s| { let child = s.spawn(std::process::id, ()); (child.id(), child.join().ok()) })?;
    /// assert_eq!(ids.0, ids.1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn id(&self) -> Option<u32> {
        self.id
    }
}

/// Runs `f`, which starts children, and joins those that `f` did not join.
///
/// A panic in `f` continues after all children have ended.
///
/// # Errors
/// The failure of the first child, in the order of their starts, that `f` did not join. All children are joined in any
/// case. An `Err` that a function returns is its result, not a failure of its process: join inside for it.
///
/// ```
/// use crossproc::{ScopeError, scope};
/// let result = scope(|s| {
///     s.spawn(|| panic!("one"), ());
///     s.spawn(|| (), ());
/// });
/// assert!(matches!(result, Err(ScopeError::Child { .. })));
/// ```
///
/// As in all children, closures capture nothing: what they need are arguments.
///
/// ```compile_fail
/// let v = crossproc::Value::new(1).unwrap();
/// let _ = crossproc::scope(|s| { s.spawn(|| v.set(2).unwrap(), ()); });
/// ```
pub fn scope<T>(f: impl for<'s> FnOnce(&'s Scope<'s>) -> T) -> Result<T, ScopeError> {
    let scope = Scope { children: Mutex::default(), of: PhantomData };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    let mut first = Ok(());
    // A destructor of what `f` made cannot start more: the scope is exclusive again.
    let children = std::mem::take(&mut *crate::error::locked(&scope.children));
    for child in children {
        let joined = child.join();
        first = first.and(joined);
    }
    match result {
        Ok(value) => first.map(|()| value),
        Err(panic) => resume_unwind(panic),
    }
}

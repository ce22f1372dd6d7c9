//! The message that a thread is encoding or decoding.

use super::manifest::{ExportedHandles, HandleRef, InFlightRef, ReceivedHandles};
use crate::segment::arena::allocator;
use crate::segment::arena::location::Location;
use crate::segment::handle::roles::{Roles, each_role};
use crate::{CodecError, SegmentError};
use std::cell::RefCell;
use std::mem::ManuallyDrop;

/// A message that is being encoded or decoded.
struct CodecScope {
    direction: Direction,
    /// Why a handle could not go along: the codec's own errors have no room for it.
    reason: Option<String>,
}

pub(super) enum Direction {
    Encoding(ExportedHandles),
    Decoding(ReceivedHandles),
}

thread_local! {
    /// Innermost last: a `Serialize` may itself encode a message. Empty whenever no codec runs, so there is no destructor
    /// to register, which a new process would pay for with its first message.
    static SCOPES: ManuallyDrop<RefCell<Vec<CodecScope>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// Removes the innermost scope.
fn pop_scope() -> Option<CodecScope> {
    SCOPES.with(|scopes| {
        let mut scopes = scopes.borrow_mut();
        let scope = scopes.pop();
        if scopes.is_empty() {
            *scopes = Vec::new();
        }
        scope
    })
}

pub(super) const NO_SCOPE: &str = "a handle on shared memory can only be part of a message between processes (crossproc::transfer), not of other data";

/// Runs the codec with this scope innermost, and gives the scope back. An error tells why, where a handle knows.
pub(super) fn run_in_scope<R>(
    direction: Direction,
    codec: impl FnOnce() -> postcard::Result<R>,
) -> Result<(R, Direction), CodecError> {
    /// Removes the scope, also when the codec panics.
    struct PopOnUnwind;
    impl Drop for PopOnUnwind {
        fn drop(&mut self) {
            pop_scope();
        }
    }
    SCOPES.with(|scopes| scopes.borrow_mut().push(CodecScope { direction, reason: None }));
    let pop_on_unwind = PopOnUnwind;
    let result = codec();
    std::mem::forget(pop_on_unwind);
    let scope = pop_scope();
    match (result, scope) {
        (Ok(result), Some(scope)) => Ok((result, scope.direction)),
        (Err(error), scope) => {
            Err(CodecError(scope.and_then(|scope| scope.reason).unwrap_or_else(|| error.to_string())))
        }
        (Ok(_), None) => Err(CodecError(NO_SCOPE.into())),
    }
}

/// Says why a handle cannot go along, and gives the text.
pub(crate) fn record_error(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    SCOPES.with(|scopes| {
        if let Some(scope) = scopes.borrow_mut().last_mut() {
            scope.reason.get_or_insert_with(|| text.clone());
        }
    });
    text
}

/// A handle is encoded: its location goes with the message.
pub(crate) fn export(location: &Location, roles: Roles) -> Result<HandleRef, SegmentError> {
    SCOPES.with(|scopes| {
        let mut scopes = scopes.borrow_mut();
        let Some(Direction::Encoding(exported)) = scopes.last_mut().map(|scope| &mut scope.direction) else {
            return Err(SegmentError::Invalid(NO_SCOPE.into()));
        };
        location.export(roles)?;
        exported.in_flight.push(InFlightRef { location: location.clone(), roles });
        let segment = location.segment().header.id();
        if !exported.locations.iter().any(|other| other.segment().header.id() == segment) {
            exported.locations.push(location.clone());
        }
        Ok(HandleRef { segment, block: location.block() })
    })
}

/// A handle is decoded: its segment is here already, or came with the message.
pub(crate) fn import(
    reference: &HandleRef,
    roles_of: impl FnOnce(&Location) -> Roles,
) -> Result<Location, SegmentError> {
    SCOPES.with(|scopes| {
        let mut scopes = scopes.borrow_mut();
        let Some(Direction::Decoding(received)) = scopes.last_mut().map(|scope| &mut scope.direction) else {
            return Err(SegmentError::Invalid(NO_SCOPE.into()));
        };
        let location = received.locate(reference)?;
        let roles = roles_of(&location);
        each_role(roles).try_for_each(|role| allocator::lock().add_part(&location, role))?;
        let handle = (reference.segment, reference.block, roles);
        if let Some(at) = received.in_flight.iter().rposition(|other| *other == handle) {
            received.in_flight.swap_remove(at);
            location.release(roles); // only now: our own bits are set
        }
        Ok(location)
    })
}

/// Whether this thread is encoding or decoding a message right now, of which what it encodes next may be a part.
#[inline]
pub(crate) fn is_in_scope() -> bool {
    SCOPES.with(|scopes| scopes.try_borrow().map_or(true, |scopes| !scopes.is_empty()))
}

//! Codec scope: the message that this thread is encoding or decoding.

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
    /// Why a handle could not be part of the message. The codec's own errors cannot carry it.
    reason: Option<String>,
}

pub(super) enum Direction {
    Encoding(ExportedHandles),
    Decoding(ReceivedHandles),
}

thread_local! {
    /// Innermost scope last: a `Serialize` may itself encode a message. Empty whenever no codec runs. So there is no
    /// destructor to register, which would cost a new process time at its first message.
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

pub(super) const NO_SCOPE: &str = "a handle on shared memory can only be part of a message between processes \
    (crossproc::transfer), not of other data";

/// Runs the codec in a new innermost scope. Returns the content of the scope, or the reason that a handle recorded.
pub(super) fn run_in_scope<R>(
    direction: Direction,
    codec: impl FnOnce() -> postcard::Result<R>,
) -> Result<(R, Direction), CodecError> {
    /// Removes the scope if the codec panics.
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
        (Ok(_), None) => Err(CodecError::new(NO_SCOPE)),
    }
}

/// Records why a handle cannot be part of the message, and returns the text.
pub(crate) fn record_error(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    SCOPES.with(|scopes| {
        if let Some(scope) = scopes.borrow_mut().last_mut() {
            scope.reason.get_or_insert_with(|| text.clone());
        }
    });
    text
}

/// Adds a handle to the message that this thread is encoding.
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

/// Takes a handle out of the message that this thread is decoding. Its segment is here already, or came with the
/// message.
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
            location.release(roles); // after the process's own bits are set (roster-R2)
        }
        Ok(location)
    })
}

/// Returns whether this thread is encoding or decoding a message. What it encodes now may be a part of that message.
#[inline]
pub(crate) fn is_in_scope() -> bool {
    SCOPES.with(|scopes| scopes.try_borrow().map_or(true, |scopes| !scopes.is_empty()))
}

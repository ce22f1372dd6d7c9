//! The message that a thread is encoding or decoding.

use super::manifest::{Arrivals, ExportedHandles, InFlightRef, Ticket};
use crate::segment::arena::allocator;
use crate::segment::arena::location::Location;
use crate::segment::handle::roles::{Roles, each};
use crate::{CodecError, SegmentError};
use std::cell::RefCell;
use std::mem::ManuallyDrop;

/// A message that is being encoded or decoded.
struct CodecScope {
    side: Side,
    /// Why a handle could not go along: the codec's own errors have no room for it.
    reason: Option<String>,
}

pub(super) enum Side {
    Out(ExportedHandles),
    In(Arrivals),
}

thread_local! {
    /// Innermost last: a `Serialize` may itself encode a message. Empty whenever no codec runs, so there is no destructor
    /// to register, which a new process would pay for with its first message.
    static JOURNEYS: ManuallyDrop<RefCell<Vec<CodecScope>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// Takes the innermost journey off.
fn end_journey() -> Option<CodecScope> {
    JOURNEYS.with(|journeys| {
        let mut journeys = journeys.borrow_mut();
        let journey = journeys.pop();
        if journeys.is_empty() {
            *journeys = Vec::new();
        }
        journey
    })
}

pub(super) const NOT_TRAVELLING: &str = "a handle on shared memory can only be part of a message between processes (crossproc::transfer), not of other data";

/// Runs the codec with this journey innermost, and gives the journey back. An error tells why, where a handle knows.
pub(super) fn travelling<R>(side: Side, codec: impl FnOnce() -> postcard::Result<R>) -> Result<(R, Side), CodecError> {
    /// Takes the journey off again, also when the codec panics.
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            end_journey();
        }
    }
    JOURNEYS.with(|journeys| journeys.borrow_mut().push(CodecScope { side, reason: None }));
    let off = Off;
    let result = codec();
    std::mem::forget(off);
    let journey = end_journey();
    match (result, journey) {
        (Ok(result), Some(journey)) => Ok((result, journey.side)),
        (Err(error), journey) => Err(CodecError(journey.and_then(|j| j.reason).unwrap_or_else(|| error.to_string()))),
        (Ok(_), None) => Err(CodecError(NOT_TRAVELLING.into())),
    }
}

/// Says why a handle cannot go along, and gives the text.
pub(crate) fn refuse(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    JOURNEYS.with(|journeys| {
        if let Some(journey) = journeys.borrow_mut().last_mut() {
            journey.reason.get_or_insert_with(|| text.clone());
        }
    });
    text
}

/// A handle is encoded: its place goes with the message.
pub(crate) fn depart(place: &Location, roles: Roles) -> Result<Ticket, SegmentError> {
    JOURNEYS.with(|journeys| {
        let mut journeys = journeys.borrow_mut();
        let Some(Side::Out(luggage)) = journeys.last_mut().map(|journey| &mut journey.side) else {
            return Err(SegmentError::Invalid(NOT_TRAVELLING.into()));
        };
        place.depart(roles)?;
        luggage.flights.push(InFlightRef { place: place.clone(), roles });
        let segment = place.segment().header.id();
        if !luggage.places.iter().any(|other| other.segment().header.id() == segment) {
            luggage.places.push(place.clone());
        }
        Ok(Ticket { segment, block: place.block() })
    })
}

/// A handle is decoded: its segment is here already, or came with the message.
pub(crate) fn arrive(ticket: &Ticket, counts: impl FnOnce(&Location) -> Roles) -> Result<Location, SegmentError> {
    JOURNEYS.with(|journeys| {
        let mut journeys = journeys.borrow_mut();
        let Some(Side::In(arrivals)) = journeys.last_mut().map(|journey| &mut journey.side) else {
            return Err(SegmentError::Invalid(NOT_TRAVELLING.into()));
        };
        let place = arrivals.find(ticket)?;
        let roles = counts(&place);
        each(roles).try_for_each(|role| allocator::lock().add_part(&place, role))?;
        let flight = (ticket.segment, ticket.block, roles);
        if let Some(at) = arrivals.flights.iter().rposition(|other| *other == flight) {
            arrivals.flights.swap_remove(at);
            place.land(roles); // only now: our own bits are set
        }
        Ok(place)
    })
}

/// Whether this thread is encoding or decoding a message right now, of which what it encodes next may be a part.
#[inline]
pub(crate) fn is_under_way() -> bool {
    JOURNEYS.with(|journeys| journeys.try_borrow().map_or(true, |journeys| !journeys.is_empty()))
}

//! What comes in: told apart, opened, passed on or handed up.

use crate::counters::Count;
use crate::gate::Origin;
use crate::line::{
    Line, Payload, Peer, Refused, BODY_SIZE, CELL_SIZE, CHAFF, CONTROL, END_TO_END, FIRST_BYTES, PAYLOAD_SIZE,
};
use crate::plane::{tick_of, Hand, Plane};
use crate::sys::{prefetch, Address};
use crate::table::Place;
use crate::upcalls::{TicketId, Unheard, Upcall};

/// Datagrams that are looked up together, so that memory is on its way before it is needed.
const AHEAD: usize = 64;
/// How many cells ahead the other line is fetched.
const NEAR: usize = 4;
/// What receiving touches of a line, and what passing a body to it touches.
const HOT: usize = 128;
const QUEUE: usize = 384;

const TICKET_ID_AT: usize = 12;

/// Datagrams that arrived, in order.
pub trait Arrivals {
    fn datagram(&self, i: usize) -> &[u8];
    fn source(&self, i: usize) -> Address;
}

/// Take `count` datagrams.
pub fn receive(plane: &Plane, hand: &mut Hand, arrivals: &impl Arrivals, count: usize, now: f64) {
    let mut at = 0;
    while at < count {
        let end = count.min(at + AHEAD);
        let mut found: [Option<&Place>; AHEAD] = [None; AHEAD];
        let index = hand.reader.index(&plane.ssrcs);
        for i in at..end {
            if let Ok(cell) = as_cell(arrivals.datagram(i)) {
                found[i - at] = index.find(ssrc(cell)).and_then(|index| plane.places.get(index));
                if let Some(place) = found[i - at] {
                    prefetch(place, HOT);
                }
            }
        }
        for i in at..end {
            if let Some(place) = found.get(i - at + NEAR).copied().flatten() {
                let peer = place.peer.load(std::sync::atomic::Ordering::Relaxed);
                if let Some(peer) = plane.places.get(peer) {
                    prefetch(peer, QUEUE);
                }
            }
            hand.tally.count(Count::DatagramsReceived);
            match as_cell(arrivals.datagram(i)) {
                Ok(cell) => one(plane, hand, found[i - at], cell, arrivals.source(i), now),
                Err(count) => hand.tally.count(count),
            }
        }
        at = end;
    }
}

#[inline]
fn as_cell(datagram: &[u8]) -> Result<&[u8; CELL_SIZE], Count> {
    let cell: &[u8; CELL_SIZE] = datagram.try_into().map_err(|_| Count::WrongSize)?;
    if cell[..2] == FIRST_BYTES {
        Ok(cell)
    } else {
        Err(Count::NotACell)
    }
}

#[inline]
fn ssrc(cell: &[u8; CELL_SIZE]) -> u32 {
    u32::from_be_bytes([cell[8], cell[9], cell[10], cell[11]])
}

/// What is left to do once a line's lock is given back.
enum Onward {
    Nothing,
    Stranger(Origin),
    Unknown,
    Forward(Option<Peer>, Payload),
}

fn one(plane: &Plane, hand: &mut Hand, place: Option<&Place>, cell: &[u8; CELL_SIZE], source: Address, now: f64) {
    let onward = match place {
        Some(place) => on_line(plane, hand, &mut place.lock(), cell, source, now),
        None => origin(plane, hand, cell).map_or(Onward::Unknown, Onward::Stranger),
    };
    match onward {
        Onward::Nothing => {}
        Onward::Unknown => hand.tally.count(Count::UnknownSsrc),
        Onward::Stranger(origin) => stranger(plane, hand, cell, origin, source, now),
        Onward::Forward(peer, payload) => forward(plane, hand, peer, &payload),
    }
}

fn ticket_id(cell: &[u8; CELL_SIZE]) -> TicketId {
    std::array::from_fn(|i| cell[TICKET_ID_AT + i])
}

fn origin(plane: &Plane, hand: &mut Hand, cell: &[u8; CELL_SIZE]) -> Option<Origin> {
    hand.checker.origin(&plane.gate, &ticket_id(cell))
}

fn stranger(plane: &Plane, hand: &mut Hand, cell: &[u8; CELL_SIZE], origin: Origin, source: Address, now: f64) {
    let outcome = plane.upcalls.offer_stranger(ticket_id(cell), origin, cell, source, tick_of(now));
    hand.tally.count(match outcome {
        Err(Unheard::Limited) => Count::StrangerLimited,
        Ok(()) | Err(Unheard::Full) => Count::StrangersReceived,
    });
    if let Err(Unheard::Full) = outcome {
        hand.tally.count(Count::UpcallsFull);
    }
}

#[inline]
fn on_line(
    plane: &Plane,
    hand: &mut Hand,
    line: &mut Line,
    cell: &[u8; CELL_SIZE],
    source: Address,
    now: f64,
) -> Onward {
    let ssrc = ssrc(cell);
    let current = line.current.ssrc == ssrc;
    // The index told where the line was a moment ago: another one, or none, may be in its place.
    let known = line.number != 0 && (current || line.following.as_ref().is_some_and(|epoch| epoch.ssrc == ssrc));
    if !known || line.address.is_none() {
        if let Some(origin) = origin(plane, hand, cell) {
            return Onward::Stranger(origin);
        }
    }
    let epoch = match &mut line.following {
        _ if !known => return Onward::Unknown,
        Some(following) if !current => following,
        _ => &mut line.current,
    };
    let mut payload = [0; PAYLOAD_SIZE];
    match epoch.open(&mut hand.aead, cell, &mut payload) {
        Ok(()) => {}
        Err(Refused::Replayed) => {
            hand.tally.count(Count::Replayed);
            return Onward::Nothing;
        }
        Err(Refused::NotAuthentic) => {
            hand.tally.count(Count::NotAuthentic);
            return Onward::Nothing;
        }
    }
    hand.tally.count(Count::CellsReceived);
    line.heard = now;
    let kind = payload[0];
    if kind > CONTROL {
        hand.tally.count(Count::UnknownType);
        return Onward::Nothing;
    }
    if !current || line.address != Some(source) {
        let upcall = Upcall::Elsewhere { line: line.number, following: !current, payload, source };
        hand_up(plane, hand, line, upcall, now);
    } else if kind == CONTROL {
        let body = std::array::from_fn::<u8, BODY_SIZE, _>(|i| payload[1 + i]);
        hand_up(plane, hand, line, Upcall::ControlReceived { line: line.number, body }, now);
    }
    if kind == END_TO_END {
        return Onward::Forward(line.peer, payload);
    }
    debug_assert!(kind == CHAFF || kind == CONTROL);
    Onward::Nothing
}

/// What a line causes upwards: once in a tick.
fn hand_up(plane: &Plane, hand: &mut Hand, line: &Line, upcall: Upcall, now: f64) {
    let outcome = match line.address {
        None => plane.upcalls.offer_of_opening(line.number, upcall, tick_of(now)),
        Some(address) => plane.upcalls.offer_of_open(line.number, address, upcall, tick_of(now)),
    };
    match outcome {
        Ok(()) => {}
        Err(Unheard::Limited) => hand.tally.count(Count::LineLimited),
        Err(Unheard::Full) => hand.tally.count(Count::UpcallsFull),
    }
}

/// Let a body wait for the slot of the line it goes to, if that is still the one it was crossed with.
#[inline]
fn forward(plane: &Plane, hand: &mut Hand, peer: Option<Peer>, payload: &Payload) {
    let crossed = peer.and_then(|peer| Some((peer.number.get(), plane.places.get(peer.index)?)));
    if let Some((number, place)) = crossed {
        let mut other = place.lock();
        if other.number == number {
            if !other.forward(payload) {
                hand.tally.count(Count::QueueFull);
            }
            return;
        }
    }
    hand.tally.count(Count::NotCrossed);
}

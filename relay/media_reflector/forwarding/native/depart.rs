//! What goes out: in its slot of every tick, one cell of each line.

use crate::counters::Count;
use crate::line::{Left, CELL_SIZE};
use crate::plane::{Hand, Plane, SLOTS};
use crate::sys::{prefetch, Address};
use crate::upcalls::Upcall;

const LINE_EXPIRY: f64 = 30.0;
/// How many lines ahead memory is asked for, and how much of each.
const AHEAD: usize = 6;
const HOT: usize = 384;

/// Where departing datagrams are put.
pub trait Departures {
    /// Room for one more, to this address.
    fn add(&mut self, address: &Address) -> &mut [u8; CELL_SIZE];
    /// Give the last room back.
    fn withdraw(&mut self);
}

/// Which part of the lines one of several workers serves.
#[derive(Clone, Copy)]
pub struct Share {
    pub worker: u32,
    pub workers: u32,
}

impl Share {
    pub const ALL: Share = Share { worker: 0, workers: 1 };

    fn has(self, index: u32) -> bool {
        index % self.workers == self.worker
    }
}

/// Seal what leaves in slot `number`.
pub fn depart(plane: &Plane, hand: &mut Hand, share: Share, number: u64, now: f64, out: &mut impl Departures) {
    let slot = (number % SLOTS as u64) as usize;
    let mut lines = std::mem::take(&mut hand.lines);
    lines.clear();
    lines.extend(plane.slot(slot).lines.iter().copied().filter(|index| share.has(*index)));
    for (i, index) in lines.iter().enumerate() {
        if let Some(place) = lines.get(i + AHEAD).and_then(|index| plane.places.get(*index)) {
            prefetch(place, HOT);
        }
        cell_of(plane, hand, *index, slot, now, out);
    }
    hand.lines = lines;
    if share.has(slot as u32) {
        singles(plane, hand, slot, out);
    }
}

/// How many lines should have had a cell in slot `number`.
pub fn due(plane: &Plane, share: Share, number: u64) -> u64 {
    let slot = (number % SLOTS as u64) as usize;
    let lines: Vec<u32> = plane.slot(slot).lines.iter().copied().filter(|index| share.has(*index)).collect();
    let is_due = |index: &u32| plane.places.get(*index).is_some_and(|place| place.lock().is_served(slot));
    lines.iter().filter(|index| is_due(index)).count() as u64
}

#[inline]
fn cell_of(plane: &Plane, hand: &mut Hand, index: u32, slot: usize, now: f64, out: &mut impl Departures) {
    let Some(place) = plane.places.get(index) else { return };
    let mut line = place.lock();
    if line.is_served(slot) && now - line.heard >= LINE_EXPIRY {
        line.expired = true;
        hand.tally.count(Count::LinesExpired);
    }
    if line.expired && !line.expiry_told {
        // Nobody else would ever tell that the line is gone: without room it is tried again in the next tick.
        line.expiry_told = plane.upcalls.offer(Upcall::Expired { line: line.number });
    }
    let Some(address) = line.address.filter(|_| line.is_served(slot)) else { return };
    let Some(left) = line.next_cell(&mut hand.aead, out.add(&address)) else { return out.withdraw() };
    hand.tally.count(Count::CellsSent);
    match left {
        Left::Control => hand.tally.count(Count::ControlSent),
        Left::Chaff => hand.tally.count(Count::ChaffSent),
        Left::Body { trimmed } => {
            hand.tally.count(Count::BodiesSent);
            if trimmed {
                hand.tally.count(Count::QueueTrimmed);
            }
        }
    }
}

fn singles(plane: &Plane, hand: &mut Hand, slot: usize, out: &mut impl Departures) {
    let waiting = std::mem::take(&mut plane.slot(slot).singles);
    for single in waiting {
        *out.add(&single.address) = single.datagram;
        hand.tally.count(Count::SinglesSent);
    }
}

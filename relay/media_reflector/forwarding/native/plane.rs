//! What the threads of a data plane share, and what may be done to its lines from outside.
//!
//! Order of locks: registry, slot, line, then gate or upcalls.  Each is held for a microsecond at most, never while anything
//! waits, so that no call from Python can hold a departure up.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard};

use crate::counters::{Count, Counters, Tally};
use crate::crypto::Aead;
use crate::gate::{Checker, Gate};
use crate::line::{Body, Down, Line, Peer, UpEpoch, CELL_SIZE};
use crate::sys::Address;
use crate::table::{Place, Places, Reader, Ssrcs, NOWHERE};
use crate::upcalls::Upcalls;

pub const SLOTS: usize = 20;
pub const TICK: f64 = 0.020;
const MAX_SINGLE: usize = 256;

/// The number of the tick in which `now` falls.
pub fn tick_of(now: f64) -> i64 {
    (now / TICK).floor() as i64
}

pub struct Single {
    pub datagram: [u8; CELL_SIZE],
    pub address: Address,
}

/// What leaves in one slot of every tick.
#[derive(Default)]
pub struct Slot {
    pub lines: Vec<u32>,
    pub singles: VecDeque<Single>,
}

/// Which lines there are; only calls from outside look at it.
#[derive(Default)]
struct Registry {
    places: HashMap<u64, u32>,
    vacant: Vec<u32>,
    made: u32,
    last_number: u64,
}

pub struct Plane {
    registry: Mutex<Registry>,
    pub places: Places,
    pub ssrcs: Ssrcs,
    slots: [Mutex<Slot>; SLOTS],
    pub gate: Gate,
    pub upcalls: Upcalls,
    pub counters: Counters,
}

/// What a thread needs to work on cells, its own.
pub struct Hand {
    pub aead: Aead,
    pub checker: Checker,
    pub reader: Reader,
    pub tally: Tally,
    /// The lines of a slot, copied so that the slot's lock is held no longer than that.
    pub lines: Vec<u32>,
}

impl Plane {
    pub fn new() -> Result<Self, String> {
        Ok(Plane {
            registry: Mutex::default(),
            places: Places::new(),
            ssrcs: Ssrcs::new(),
            slots: Default::default(),
            gate: Gate::default(),
            upcalls: Upcalls::new()?,
            counters: Counters::default(),
        })
    }

    pub fn hand(&self) -> Result<Hand, String> {
        Ok(Hand {
            aead: Aead::new()?,
            checker: Checker::default(),
            reader: Reader::new(&self.ssrcs),
            tally: Tally::default(),
            lines: Vec::new(),
        })
    }

    pub fn slot(&self, slot: usize) -> MutexGuard<'_, Slot> {
        self.slots[slot % SLOTS].lock().expect("not poisoned")
    }

    pub fn lines(&self) -> usize {
        self.registry().places.len()
    }

    /// The new line's number; None when the SSRC is taken (or a million lines are there).
    pub fn add_line(&self, slot: usize, up: UpEpoch, now: f64) -> Option<u64> {
        let mut registry = self.registry();
        if self.ssrcs.find(up.ssrc).is_some() {
            return None;
        }
        let index = registry.vacant.pop().unwrap_or(registry.made);
        let place = self.places.make(index)?;
        registry.made = registry.made.max(index + 1);
        registry.last_number += 1;
        let number = registry.last_number;
        registry.places.insert(number, index);
        let ssrc = up.ssrc;
        *place.lock() = Line::new(number, (slot % SLOTS) as u8, up, now);
        self.ssrcs.insert(ssrc, index);
        self.slot(slot).lines.push(index);
        Some(number)
    }

    pub fn prepare(&self, number: u64, up: Option<UpEpoch>) -> bool {
        self.with(number, |index, line| {
            let old = line.following.as_ref().map(|epoch| epoch.ssrc);
            let new = up.as_ref().map(|epoch| epoch.ssrc);
            let taken = |ssrc| old != Some(ssrc) && self.ssrcs.find(ssrc).is_some();
            if new.is_some_and(taken) {
                return false;
            }
            if old != new {
                old.into_iter().for_each(|ssrc| self.ssrcs.remove(ssrc));
                new.into_iter().for_each(|ssrc| self.ssrcs.insert(ssrc, index));
            }
            line.following = up;
            true
        })
    }

    pub fn settle(&self, number: u64, down: Option<Down>, address: Address, advance: bool) -> bool {
        self.with(number, |_, line| {
            if advance {
                let Some(following) = line.following.take() else { return false };
                self.ssrcs.remove(line.current.ssrc);
                line.current = following;
            }
            line.address = Some(address);
            if down.is_some() {
                line.down = down;
            }
            true
        })
    }

    pub fn cross(&self, one: u64, other: u64) -> bool {
        let registry = self.registry();
        let (Some(&here), Some(&there)) = (registry.places.get(&one), registry.places.get(&other)) else {
            return false;
        };
        if one == other {
            return false;
        }
        self.part(here);
        self.part(there);
        self.join(here, NonZeroU64::new(other).map(|number| Peer { index: there, number }));
        self.join(there, NonZeroU64::new(one).map(|number| Peer { index: here, number }));
        true
    }

    pub fn uncross(&self, number: u64) -> bool {
        let registry = self.registry();
        registry.places.get(&number).map(|index| self.part(*index)).is_some()
    }

    pub fn control(&self, number: u64, body: &Body) -> bool {
        self.with(number, |_, line| {
            let room = line.push_control(body);
            if !room {
                self.counters.add(Count::ControlFull, 1);
            }
            room
        })
    }

    pub fn remove(&self, number: u64) -> bool {
        let mut registry = self.registry();
        let Some(index) = registry.places.remove(&number) else { return false };
        self.part(index);
        // Nothing of a line stays behind in memory: its keys are overwritten here.
        let line = std::mem::replace(&mut *self.place(index).lock(), Line::vacant());
        self.ssrcs.remove(line.current.ssrc);
        line.following.iter().for_each(|epoch| self.ssrcs.remove(epoch.ssrc));
        let mut slot = self.slot(line.slot.into());
        if let Some(position) = slot.lines.iter().position(|other| *other == index) {
            slot.lines.swap_remove(position);
        }
        registry.vacant.push(index);
        true
    }

    pub fn send(&self, slot: usize, datagram: [u8; CELL_SIZE], address: Address) -> bool {
        let mut slot = self.slot(slot);
        let room = slot.singles.len() < MAX_SINGLE;
        if room {
            slot.singles.push_back(Single { datagram, address });
        } else {
            self.counters.add(Count::SinglesFull, 1);
        }
        room
    }

    /// Forget the other line, and it this one.
    fn part(&self, index: u32) {
        if let Some(peer) = self.join(index, None) {
            self.join(peer.index, None);
        }
    }

    /// Tell a line whom its bodies go to; whom they went to before.
    fn join(&self, index: u32, peer: Option<Peer>) -> Option<Peer> {
        let place = self.place(index);
        place.peer.store(peer.map_or(NOWHERE, |peer| peer.index), Relaxed);
        std::mem::replace(&mut place.lock().peer, peer)
    }

    fn with(&self, number: u64, change: impl FnOnce(u32, &mut Line) -> bool) -> bool {
        let registry = self.registry();
        let Some(&index) = registry.places.get(&number) else { return false };
        let mut line = self.place(index).lock();
        change(index, &mut line)
    }

    fn place(&self, index: u32) -> &Place {
        self.places.get(index).expect("a registered line has its place")
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().expect("not poisoned")
    }
}

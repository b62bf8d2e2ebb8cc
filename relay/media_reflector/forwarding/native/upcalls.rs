//! What waits for Python to decide, and how much of it strangers may cause.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard};

use crate::gate::Origin;
use crate::limit::{Crowd, Limit};
use crate::line::{Body, Payload, CELL_SIZE};
use crate::sys::{Address, Event};

const MAX_UPCALLS: usize = 256;
const PERMITTED_PER_TICK: usize = 32;
const OWN_PER_TICK: usize = 48;
const LEFT_PER_TICK: usize = 48;
const OPENING_PER_TICK: usize = 48;
const OPEN_PER_TICK: usize = 64;
const LINES_PER_ADDRESS: u32 = 16;

pub type TicketId = [u8; 16];

pub enum Upcall {
    Stranger { datagram: [u8; CELL_SIZE], source: Address },
    ControlReceived { line: u64, body: Body },
    Elsewhere { line: u64, following: bool, payload: Payload, source: Address },
    Expired { line: u64 },
}

/// Why something was not handed up.
pub enum Unheard {
    Limited,
    Full,
}

struct Waiting {
    upcalls: VecDeque<Upcall>,
    permitted: Limit<TicketId>,
    own: Limit<TicketId>,
    left: Limit<TicketId>,
    opening: Limit<u64>,
    open: Limit<u64>,
    /// Of open lines, by the address that each has proved: one that a datagram only claims could be another's.
    addresses: Crowd<Address>,
}

impl Waiting {
    fn of(&mut self, origin: Origin) -> &mut Limit<TicketId> {
        match origin {
            Origin::Permitted => &mut self.permitted,
            Origin::Own => &mut self.own,
            Origin::Left => &mut self.left,
        }
    }
}

/// A bounded queue, and an event that says that it is not empty.
pub struct Upcalls {
    waiting: Mutex<Waiting>,
    event: Event,
}

impl Upcalls {
    pub fn new() -> Result<Self, String> {
        let waiting = Waiting {
            upcalls: VecDeque::with_capacity(MAX_UPCALLS),
            permitted: Limit::new(PERMITTED_PER_TICK),
            own: Limit::new(OWN_PER_TICK),
            left: Limit::new(LEFT_PER_TICK),
            opening: Limit::new(OPENING_PER_TICK),
            open: Limit::new(OPEN_PER_TICK),
            addresses: Crowd::new(LINES_PER_ADDRESS),
        };
        Ok(Upcalls { waiting: Mutex::new(waiting), event: Event::new()? })
    }

    pub fn descriptor(&self) -> c_int {
        self.event.descriptor()
    }

    /// What nobody but time causes.  False when there is no room.
    pub fn offer(&self, upcall: Upcall) -> bool {
        self.push(&mut self.lock(), upcall)
    }

    /// What a line without an address causes: once in a tick, and of few lines.
    pub fn offer_of_opening(&self, line: u64, upcall: Upcall, tick: i64) -> Result<(), Unheard> {
        let mut waiting = self.lock();
        if !waiting.opening.allows(line, tick) {
            return Err(Unheard::Limited);
        }
        if !self.push(&mut waiting, upcall) {
            return Err(Unheard::Full);
        }
        waiting.opening.heard(line);
        Ok(())
    }

    /// What a line with an address causes: once in a tick, of few lines, and of fewer at one address.
    pub fn offer_of_open(&self, line: u64, address: Address, upcall: Upcall, tick: i64) -> Result<(), Unheard> {
        let mut waiting = self.lock();
        if !waiting.open.allows(line, tick) || !waiting.addresses.allows(address, tick) {
            return Err(Unheard::Limited);
        }
        if !self.push(&mut waiting, upcall) {
            return Err(Unheard::Full);
        }
        waiting.open.heard(line);
        waiting.addresses.heard(address);
        Ok(())
    }

    /// A first message: each ticket once in a tick, and few tickets of each origin.
    pub fn offer_stranger(
        &self,
        id: TicketId,
        origin: Origin,
        datagram: &[u8; CELL_SIZE],
        source: Address,
        tick: i64,
    ) -> Result<(), Unheard> {
        let mut waiting = self.lock();
        if !waiting.of(origin).allows(id, tick) {
            return Err(Unheard::Limited);
        }
        if !self.push(&mut waiting, Upcall::Stranger { datagram: *datagram, source }) {
            return Err(Unheard::Full);
        }
        waiting.of(origin).heard(id);
        Ok(())
    }

    /// All that waits, oldest first.
    pub fn take(&self) -> VecDeque<Upcall> {
        let empty = VecDeque::with_capacity(MAX_UPCALLS);
        std::mem::replace(&mut self.lock().upcalls, empty)
    }

    fn push(&self, waiting: &mut Waiting, upcall: Upcall) -> bool {
        if waiting.upcalls.len() == MAX_UPCALLS {
            return false;
        }
        if waiting.upcalls.is_empty() {
            self.event.signal();
        }
        waiting.upcalls.push_back(upcall);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("not poisoned")
    }
}

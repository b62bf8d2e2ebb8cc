//! What waits for Python to decide, and how much of it strangers may cause.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard};

use crate::limit::Limit;
use crate::line::{Body, Payload, CELL_SIZE};
use crate::sys::{Address, Event};

const MAX_UPCALLS: usize = 256;
const STRANGERS_PER_TICK: usize = 80;
const LINES_PER_TICK: usize = 80;

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
    strangers: Limit<TicketId>,
    lines: Limit<u64>,
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
            strangers: Limit::new(STRANGERS_PER_TICK),
            lines: Limit::new(LINES_PER_TICK),
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

    /// What a line causes: once in a tick, and of few lines.
    pub fn offer_of_line(&self, line: u64, upcall: Upcall, tick: i64) -> Result<(), Unheard> {
        let mut waiting = self.lock();
        if !waiting.lines.allows(line, tick) {
            return Err(Unheard::Limited);
        }
        if !self.push(&mut waiting, upcall) {
            return Err(Unheard::Full);
        }
        waiting.lines.heard(line);
        Ok(())
    }

    /// A first message: each ticket once in a tick, and few tickets.
    pub fn offer_stranger(
        &self,
        id: TicketId,
        datagram: &[u8; CELL_SIZE],
        source: Address,
        tick: i64,
    ) -> Result<(), Unheard> {
        let mut waiting = self.lock();
        if !waiting.strangers.allows(id, tick) {
            return Err(Unheard::Limited);
        }
        if !self.push(&mut waiting, Upcall::Stranger { datagram: *datagram, source }) {
            return Err(Unheard::Full);
        }
        waiting.strangers.heard(id);
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

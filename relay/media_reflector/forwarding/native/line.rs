//! One line: what opens its cells, what seals them, and what waits for its slot.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use crate::crypto::{Aead, Key, Nonce, TAG_SIZE};
use crate::replay::Window;
use crate::sys::Address;

pub const CELL_SIZE: usize = 160;
pub const HEADER_SIZE: usize = 12;
pub const PAYLOAD_SIZE: usize = CELL_SIZE - HEADER_SIZE - TAG_SIZE;
pub const BODY_SIZE: usize = PAYLOAD_SIZE - 1;

/// RTP version 2 without padding, extension or CSRC; no marker, payload type 111.
pub const FIRST_BYTES: [u8; 2] = [0x80, 111];
const TIMESTAMP_STEP: u32 = 960;

pub const CHAFF: u8 = 0;
pub const END_TO_END: u8 = 1;
pub const CONTROL: u8 = 2;

const MAX_QUEUED: usize = 3;
const MAX_STANDING: usize = 2;
const STANDING_TICKS: u8 = 100;
const MAX_CONTROL: usize = 8;

/// Link type and body.
pub type Payload = [u8; PAYLOAD_SIZE];
pub type Body = [u8; BODY_SIZE];

static EMPTY: Payload = [0; PAYLOAD_SIZE];

/// RFC 7714 section 8.1: two zero bytes, SSRC, rollover counter, sequence number; exclusive or with the salt.
#[inline]
fn nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    nonce
}

/// Why a cell was not opened.
pub enum Refused {
    Replayed,
    NotAuthentic,
}

/// One epoch of what comes up the line.
#[derive(Clone)]
pub struct UpEpoch {
    key: Key,
    window: Window,
    salt: [u8; 12],
    pub ssrc: u32,
}

impl UpEpoch {
    pub const fn new(ssrc: u32, key: Key, salt: [u8; 12]) -> Self {
        UpEpoch { key, window: Window::new(), salt, ssrc }
    }

    #[inline]
    pub fn open(&mut self, aead: &mut Aead, cell: &[u8; CELL_SIZE], payload: &mut Payload) -> Result<(), Refused> {
        let index = self.window.estimate(u16::from_be_bytes([cell[2], cell[3]]));
        if !self.window.fresh(index) {
            return Err(Refused::Replayed);
        }
        let (header, sealed) = cell.split_at(HEADER_SIZE);
        // A fresh index is not negative.
        let nonce = nonce(&self.salt, self.ssrc, index as u64);
        if !aead.open(&self.key, &nonce, header, sealed, payload) {
            return Err(Refused::NotAuthentic);
        }
        self.window.accept(index);
        Ok(())
    }
}

/// What goes down the line, and the RTP header of its next cell.
#[derive(Clone)]
pub struct Down {
    pub key: Key,
    pub salt: [u8; 12],
    pub ssrc: u32,
    pub timestamp: u32,
    pub rollover_counter: u32,
    pub sequence_number: u16,
}

impl Down {
    #[inline]
    fn seal(&mut self, aead: &mut Aead, payload: &Payload, cell: &mut [u8; CELL_SIZE]) -> bool {
        let index = u64::from(self.rollover_counter) << 16 | u64::from(self.sequence_number);
        let (header, sealed) = cell.split_at_mut(HEADER_SIZE);
        header[..2].copy_from_slice(&FIRST_BYTES);
        header[2..4].copy_from_slice(&self.sequence_number.to_be_bytes());
        header[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        header[8..].copy_from_slice(&self.ssrc.to_be_bytes());
        self.sequence_number = self.sequence_number.wrapping_add(1);
        if self.sequence_number == 0 {
            self.rollover_counter = self.rollover_counter.wrapping_add(1);
        }
        self.timestamp = self.timestamp.wrapping_add(TIMESTAMP_STEP);
        aead.seal(&self.key, &nonce(&self.salt, self.ssrc, index), header, payload, sealed)
    }
}

/// The line at the other end of the exchange: where it is, and which it was when the two were crossed.
#[derive(Clone, Copy)]
pub struct Peer {
    pub index: u32,
    /// Not zero; the type says so to spare eight bytes of every line.
    pub number: NonZeroU64,
}

/// What a slot took from a line.
pub enum Left {
    Control,
    Body { trimmed: bool },
    Chaff,
}

/// A place for a line; `number` zero: vacant.
///
/// What one cell touches stands together, in the order in which it is needed: the processor fetches 64 bytes at once.
#[repr(C)]
pub struct Line {
    pub current: UpEpoch,
    pub number: u64,
    pub heard: f64,
    pub peer: Option<Peer>,
    pub address: Option<Address>,
    pub slot: u8,
    pub expired: bool,
    standing: u8,
    first: u8,
    waiting: u8,
    pub expiry_told: bool,
    pub down: Option<Down>,
    bodies: [Payload; MAX_QUEUED],
    control: VecDeque<Payload>,
    pub following: Option<UpEpoch>,
}

impl Line {
    pub const fn vacant() -> Self {
        Line {
            current: UpEpoch::new(0, [0; 16], [0; 12]),
            number: 0,
            heard: 0.0,
            peer: None,
            address: None,
            slot: 0,
            expired: false,
            expiry_told: false,
            standing: 0,
            first: 0,
            waiting: 0,
            down: None,
            control: VecDeque::new(),
            bodies: [[0; PAYLOAD_SIZE]; MAX_QUEUED],
            following: None,
        }
    }

    /// A line without an address: nothing leaves yet.
    pub fn new(number: u64, slot: u8, up: UpEpoch, now: f64) -> Self {
        Line { number, slot, current: up, heard: now, ..Line::vacant() }
    }

    /// Whether a cell leaves in every tick, in this slot.  (Another line may be in this place than a moment ago.)
    #[inline]
    pub fn is_served(&self, slot: usize) -> bool {
        usize::from(self.slot) == slot && self.down.is_some() && self.address.is_some() && !self.expired
    }

    /// Let a body from the other line wait; False when the oldest had to give way.
    #[inline]
    pub fn forward(&mut self, payload: &Payload) -> bool {
        let room = usize::from(self.waiting) < MAX_QUEUED;
        if !room {
            self.drop_oldest();
        }
        let at = (usize::from(self.first) + usize::from(self.waiting)) % MAX_QUEUED;
        self.bodies[at] = *payload;
        self.waiting += 1;
        room
    }

    fn drop_oldest(&mut self) {
        self.waiting -= 1;
        // An empty queue starts at the front again, so that mostly the same few cache lines are used.
        self.first = if self.waiting == 0 { 0 } else { (self.first + 1) % MAX_QUEUED as u8 };
    }

    /// Let a control body wait; False when too many do.
    pub fn push_control(&mut self, body: &Body) -> bool {
        if self.control.len() == MAX_CONTROL {
            return false;
        }
        let mut payload = [CONTROL; PAYLOAD_SIZE];
        payload[1..].copy_from_slice(body);
        self.control.push_back(payload);
        true
    }

    /// Seal the cell of this tick: control, else a body that waits, else chaff.  None (never seen) when libcrypto
    /// failed.  A line without keys has no cell.
    #[inline]
    pub fn next_cell(&mut self, aead: &mut Aead, cell: &mut [u8; CELL_SIZE]) -> Option<Left> {
        let down = self.down.as_mut()?;
        if let Some(payload) = self.control.pop_front() {
            if self.control.is_empty() {
                // Control is rare: its memory is given back.
                self.control = VecDeque::new();
            }
            return down.seal(aead, &payload, cell).then_some(Left::Control);
        }
        if self.waiting == 0 {
            self.standing = 0;
            return down.seal(aead, &EMPTY, cell).then_some(Left::Chaff);
        }
        let sealed = down.seal(aead, &self.bodies[usize::from(self.first)], cell);
        self.drop_oldest();
        let trimmed = self.trim();
        sealed.then_some(Left::Body { trimmed })
    }

    /// After a burst the queue would stay long for ever, as many come as leave: give up one body for 20 ms.
    fn trim(&mut self) -> bool {
        if usize::from(self.waiting) < MAX_STANDING {
            self.standing = 0;
            return false;
        }
        self.standing += 1;
        if self.standing < STANDING_TICKS {
            return false;
        }
        self.standing = 0;
        self.drop_oldest();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        let down = Down {
            key: [1; 16],
            salt: [2; 12],
            ssrc: 3,
            timestamp: u32::MAX,
            rollover_counter: 0,
            sequence_number: 65_535,
        };
        Line { down: Some(down), ..Line::vacant() }
    }

    fn payload(byte: u8) -> Payload {
        let mut payload = [byte; PAYLOAD_SIZE];
        payload[0] = END_TO_END;
        payload
    }

    /// What leaves `line`, as the epoch at the other end reads it.
    fn leaving(line: &mut Line, up: &mut UpEpoch) -> Payload {
        let (mut cell, mut payload) = ([0; CELL_SIZE], [0; PAYLOAD_SIZE]);
        let mut aead = Aead::new().unwrap();
        assert!(line.next_cell(&mut aead, &mut cell).is_some());
        assert!(up.open(&mut aead, &cell, &mut payload).is_ok());
        assert!(matches!(up.open(&mut aead, &cell, &mut payload), Err(Refused::Replayed)));
        payload
    }

    #[test]
    fn what_waits_leaves_in_order_and_the_oldest_gives_way() {
        let (mut line, mut up) = (line(), UpEpoch::new(3, [1; 16], [2; 12]));
        assert_eq!(leaving(&mut line, &mut up), [0; PAYLOAD_SIZE]);
        for byte in 1..=3 {
            assert!(line.forward(&payload(byte)));
        }
        assert!(!line.forward(&payload(4)));
        assert!(line.push_control(&[9; BODY_SIZE]));
        assert_eq!(leaving(&mut line, &mut up)[..2], [CONTROL, 9]);
        for byte in 2..=4 {
            assert_eq!(leaving(&mut line, &mut up), payload(byte));
        }
        assert_eq!(leaving(&mut line, &mut up), [0; PAYLOAD_SIZE]);
        assert_eq!(line.down.unwrap().rollover_counter, 1);
    }

    #[test]
    fn a_standing_queue_is_trimmed() {
        let (mut line, mut aead, mut cell) = (line(), Aead::new().unwrap(), [0; CELL_SIZE]);
        line.forward(&payload(0));
        line.forward(&payload(0));
        let trims = (0..300)
            .filter(|_| {
                line.forward(&payload(0));
                matches!(line.next_cell(&mut aead, &mut cell), Some(Left::Body { trimmed: true }))
            })
            .count();
        assert_eq!((trims, line.waiting), (1, 1));
    }

    #[test]
    fn control_bodies_are_bounded() {
        let mut line = line();
        assert!((0..MAX_CONTROL).all(|_| line.push_control(&[0; BODY_SIZE])));
        assert!(!line.push_control(&[0; BODY_SIZE]));
    }

    #[test]
    fn a_line_is_small() {
        assert!(std::mem::size_of::<Line>() <= 768);
    }
}

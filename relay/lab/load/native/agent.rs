//! One line as its agent holds it: keys, numbers, and when its last cells really left.

use crate::crypto::{Aead, TAG_SIZE};
use crate::wire::Route;

pub const CELL: usize = 160;
pub const PREFIX: usize = 4;
const HEADER: usize = 12;
const PAYLOAD: usize = CELL - HEADER - TAG_SIZE;
const TIMESTAMP_STEP: u32 = 960;
const END_TO_END: u8 = 1;
/// Bodies whose departure from here is remembered: more than can wait anywhere.
const REMEMBERED: usize = 32;

/// One line, as Python lays it out.  Addresses and ports are in network byte order, times in microseconds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LineSpec {
    pub up_ssrc: u32,
    pub down_ssrc: u32,
    pub up_key: [u8; 16],
    pub down_key: [u8; 16],
    pub up_salt: [u8; 12],
    pub down_salt: [u8; 12],
    pub source: u32,
    pub destination: u32,
    /// Where in the tick this agent sends, and where its reflector is to send to it.
    pub arrival: u32,
    pub departure: u32,
    /// Whose bodies come down this line.
    pub partner: u32,
    pub port: u16,
    pub sequence: u16,
    /// What stands before every cell of this line (a TURN channel header), if `prefixed`.
    pub prefix: [u8; PREFIX],
    pub prefixed: u16,
    /// Whether cells are sealed at all, and whether what comes is opened and its body looked at.
    pub sealed: u8,
    pub opened: u8,
}

pub struct Agent {
    pub spec: LineSpec,
    pub route: Route,
    sequence: u16,
    rollover: u32,
    timestamp: u32,
    counter: u32,
    /// How far beside its moment each of the last bodies left, in microseconds; NaN where that says nothing.
    left: [f32; REMEMBERED],
    pub last_left: f32,
    /// When the line's last cell came; none since the counts began anew.
    pub last_stamp: Option<i64>,
    last_sequence: Option<u16>,
    down_rollover: u32,
    pub last_body: Option<u32>,
}

fn nonce(salt: &[u8; 12], ssrc: u32, rollover: u32, sequence: u16) -> [u8; 12] {
    let mut nonce = [0u8; 12];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[6..10].copy_from_slice(&rollover.to_be_bytes());
    nonce[10..].copy_from_slice(&sequence.to_be_bytes());
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    nonce
}

impl Agent {
    pub fn new(spec: &LineSpec) -> Agent {
        Agent {
            spec: *spec,
            route: Route::new(spec.source, spec.destination, spec.port),
            sequence: spec.sequence,
            rollover: 0,
            timestamp: spec.up_ssrc,
            counter: 0,
            left: [0.0; REMEMBERED],
            last_left: f32::NAN,
            last_stamp: None,
            last_sequence: None,
            down_rollover: 0,
            last_body: None,
        }
    }

    /// Write the next cell, which leaves `deviation` microseconds beside its moment in the tick.
    pub fn write(&mut self, index: u32, deviation: f32, aead: &mut Aead, place: &mut [u8]) {
        let (prefix, cell) = place.split_at_mut(place.len() - CELL);
        prefix.copy_from_slice(&self.spec.prefix[..prefix.len()]);
        let (header, rest) = cell.split_at_mut(HEADER);
        header[..2].copy_from_slice(&[0x80, 111]);
        header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        header[8..].copy_from_slice(&self.spec.up_ssrc.to_be_bytes());
        let mut payload = [0u8; PAYLOAD];
        payload[0] = END_TO_END;
        payload[1..5].copy_from_slice(&index.to_be_bytes());
        payload[5..9].copy_from_slice(&self.counter.to_be_bytes());
        if self.spec.sealed == 0 {
            rest[..PAYLOAD].copy_from_slice(&payload);
        } else {
            let nonce = nonce(&self.spec.up_salt, self.spec.up_ssrc, self.rollover, self.sequence);
            aead.seal(&self.spec.up_key, &nonce, header, &payload, rest);
        }
        self.left[self.counter as usize % REMEMBERED] = deviation;
        self.last_left = deviation;
        self.counter = self.counter.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(TIMESTAMP_STEP);
        self.sequence = self.sequence.wrapping_add(1);
        self.rollover += u32::from(self.sequence == 0);
    }

    /// Follow the sequence numbers of what comes: how many are missing before this one; none when it is an old one.
    pub fn follow(&mut self, sequence: u16) -> Option<u64> {
        let Some(last) = self.last_sequence.replace(sequence) else { return Some(0) };
        let step = sequence.wrapping_sub(last);
        if step == 0 || step >= 1 << 15 {
            self.last_sequence = Some(last);
            return None;
        }
        self.down_rollover += u32::from(sequence < last);
        Some(u64::from(step) - 1)
    }

    /// The body's sender and counter, if it is one of ours; `Err` when the cell is not authentic.
    pub fn read(&self, cell: &[u8], aead: &mut Aead) -> Result<Option<(u32, u32)>, ()> {
        let mut payload = [0u8; PAYLOAD];
        let (header, rest) = cell.split_at(HEADER);
        if self.spec.sealed == 0 {
            payload.copy_from_slice(&rest[..PAYLOAD]);
        } else {
            let sequence = u16::from_be_bytes([header[2], header[3]]);
            let nonce = nonce(&self.spec.down_salt, self.spec.down_ssrc, self.down_rollover, sequence);
            if !aead.open(&self.spec.down_key, &nonce, header, rest, &mut payload) {
                return Err(());
            }
        }
        let number = |at: usize| u32::from_be_bytes([payload[at], payload[at + 1], payload[at + 2], payload[at + 3]]);
        Ok((payload[0] == END_TO_END).then(|| (number(1), number(5))))
    }

    /// How far beside its moment body `counter` left here; none when that is not known any more.
    pub fn left(&self, counter: u32) -> Option<f64> {
        let ago = self.counter.wrapping_sub(counter);
        let known = ago >= 1 && ago as usize <= REMEMBERED;
        known.then(|| f64::from(self.left[counter as usize % REMEMBERED])).filter(|left| left.is_finite())
    }
}

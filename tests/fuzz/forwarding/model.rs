//! What must hold whatever came in: every datagram has one fate, and what leaves opens under the keys of the line that
//! it is for, goes to that line's address, and never repeats a nonce.

use std::collections::HashMap;

use crate::counters::Count;
use crate::crypto::Aead;
use crate::driver::CELL_SIZE;
use crate::sys::Address;

/// As in face.py.
const FATES: [Count; 8] = [
    Count::WrongSize,
    Count::NotACell,
    Count::UnknownSsrc,
    Count::StrangerLimited,
    Count::StrangersReceived,
    Count::Replayed,
    Count::NotAuthentic,
    Count::CellsReceived,
];

#[derive(Clone)]
pub struct Down {
    pub key: [u8; 16],
    pub salt: [u8; 12],
    pub ssrc: u32,
    pub timestamp: u32,
    pub index: u64,
}

struct Sending {
    line: u64,
    down: Down,
    slot: Option<u64>,
}

pub struct Model {
    aead: Aead,
    sending: HashMap<u32, Sending>,
    addresses: HashMap<u64, Address>,
    singles: u64,
    pub cells: u64,
}

pub fn nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    // RFC 7714 section 8.1, written unlike the code under test.
    let counter = u128::from(ssrc) << 48 | u128::from(index & 0xffff_ffff_ffff);
    let salt = u128::from_be_bytes(std::array::from_fn(|i| if i < 4 { 0 } else { salt[i - 4] }));
    std::array::from_fn(|i| (salt ^ counter).to_be_bytes()[4 + i])
}

/// How many fates befell datagrams.
pub fn fates(counts: &[u64]) -> u64 {
    FATES.iter().map(|fate| counts[*fate as usize]).sum()
}

impl Model {
    pub fn new() -> Model {
        let aead = Aead::new().expect("libcrypto");
        Model { aead, sending: HashMap::new(), addresses: HashMap::new(), singles: 0, cells: 0 }
    }

    pub fn settled(&mut self, line: u64, down: Option<Down>, address: Address) {
        self.addresses.insert(line, address);
        if let Some(down) = down {
            self.forget_keys(line);
            self.sending.insert(down.ssrc, Sending { line, down, slot: None });
        }
    }

    pub fn removed(&mut self, line: u64) {
        self.forget_keys(line);
        self.addresses.remove(&line);
    }

    fn forget_keys(&mut self, line: u64) {
        self.sending.retain(|_, sending| sending.line != line);
    }

    pub fn single_waits(&mut self) {
        self.singles += 1;
    }

    /// One datagram that left in slot `number`.
    pub fn left(&mut self, number: u64, datagram: &[u8; CELL_SIZE], address: &Address) {
        if datagram[0] == 0 {
            // Only what was given to `send` begins so.
            self.singles = self.singles.checked_sub(1).expect("a datagram that nobody sent");
            return;
        }
        self.cells += 1;
        let ssrc = u32::from_be_bytes(datagram[8..12].try_into().expect("four"));
        let sending = self.sending.get_mut(&ssrc).expect("a cell under keys that no line has");
        assert_eq!(self.addresses[&sending.line], *address, "a cell for another address");
        assert_ne!(sending.slot.replace(number), Some(number), "two cells of one line in one slot");
        let down = &mut sending.down;
        let mut header = [0x80, 111, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header[2..4].copy_from_slice(&(down.index as u16).to_be_bytes());
        header[4..8].copy_from_slice(&down.timestamp.to_be_bytes());
        header[8..].copy_from_slice(&ssrc.to_be_bytes());
        assert_eq!(datagram[..12], header, "a header out of order");
        let mut payload = [0; 132];
        let nonce = nonce(&down.salt, ssrc, down.index);
        assert!(self.aead.open(&down.key, &nonce, &header, &datagram[12..], &mut payload), "a cell that does not open");
        assert!(payload[0] <= 2 && (payload[0] != 0 || payload == [0; 132]), "a cell of no type");
        down.index += 1;
        down.timestamp = down.timestamp.wrapping_add(960);
    }

    pub fn counts(&self, received: u64, counts: &[u64]) {
        assert_eq!(counts[Count::DatagramsReceived as usize], received, "datagrams uncounted");
        assert_eq!(fates(counts), received, "datagrams without exactly one fate");
        assert_eq!(counts[Count::CellsSent as usize], self.cells, "cells uncounted");
    }
}

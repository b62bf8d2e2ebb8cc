//! What inputs name by a number: addresses, keys both ways, ticket numbers, and the cells that agents seal.

use crate::crypto::Aead;
use crate::driver::CELL_SIZE;
use crate::model::{nonce, Down};
use crate::sys::Address;

pub fn source(index: u8) -> Address {
    let index = index & 3;
    let mut address = [0; 18];
    if index == 3 {
        address[15] = 1;
    } else {
        address[10..16].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1 + index]);
    }
    address[16..].copy_from_slice(&(40001 + u16::from(index)).to_be_bytes());
    address
}

pub struct Up {
    pub ssrc: u32,
    pub key: [u8; 16],
    pub salt: [u8; 12],
}

pub fn up(index: u8) -> Up {
    Up { ssrc: 0x1000_0000 + u32::from(index), key: [index + 0x01; 16], salt: [index + 0x21; 12] }
}

pub fn packed(up: &Up) -> [u8; 32] {
    [&up.ssrc.to_be_bytes()[..], &up.key, &up.salt].concat().try_into().expect("as long")
}

pub fn down(count: u32, sequence_number: u16, rollover_counter: u8) -> Down {
    let seed = (count as u16).to_be_bytes();
    Down {
        key: std::array::from_fn(|i| seed[i & 1]),
        salt: std::array::from_fn(|i| seed[i & 1]),
        ssrc: 0x2000_0000 + count,
        timestamp: 0u32.wrapping_sub(16 * 960),
        index: u64::from(rollover_counter) << 16 | u64::from(sequence_number),
    }
}

pub fn packed_down(down: &Down) -> [u8; 42] {
    let (sequence_number, rollover_counter) = (down.index as u16, (down.index >> 16) as u32);
    [
        &down.ssrc.to_be_bytes()[..],
        &down.key,
        &down.salt,
        &sequence_number.to_be_bytes(),
        &down.timestamp.to_be_bytes(),
        &rollover_counter.to_be_bytes(),
    ]
    .concat()
    .try_into()
    .expect("as long")
}

pub fn check_key(index: u8) -> [u8; 16] {
    [index + 0x41; 16]
}

pub fn ticket_id(aead: &mut Aead, number: u8, how: u8) -> [u8; 16] {
    let mut id = [number; 16];
    if how & 3 != 0 {
        let (mut nonce, mut tag) = ([0; 12], [0; 16]);
        nonce[..8].fill(number);
        assert!(aead.seal(&check_key(how >> 2 & 15), &nonce, &[], &[], &mut tag));
        id[8..].copy_from_slice(&tag[..8]);
        if how & 3 == 2 {
            id[15] ^= 1;
        }
    }
    id
}

/// Cells of one epoch, one after the other.
#[derive(Clone, Copy)]
pub struct Stream {
    pub source: Address,
    pub index: u8,
    pub packet: u64,
    pub kind: u8,
    pub fill: u8,
}

impl Stream {
    pub fn next_cell(&mut self, aead: &mut Aead) -> Vec<u8> {
        let (keys, packet) = (up(self.index), self.packet & 0xffff_ffff);
        self.packet += 1;
        let mut cell = vec![0; CELL_SIZE];
        let (header, sealed) = cell.split_at_mut(12);
        header[..2].copy_from_slice(&[0x80, 111]);
        header[2..4].copy_from_slice(&(packet as u16).to_be_bytes());
        header[8..].copy_from_slice(&keys.ssrc.to_be_bytes());
        let mut payload = [self.fill; 132];
        payload[0] = self.kind;
        assert!(aead.seal(&keys.key, &nonce(&keys.salt, keys.ssrc, packet), header, &payload, sealed));
        cell
    }
}

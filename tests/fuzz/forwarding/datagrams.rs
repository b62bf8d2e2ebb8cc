//! One input, one datagram, on a data plane that lives on: many more in the same time, for the receive path alone.
//! What an input finds may depend on those before it; `sequence` has no such memory.
//!
//! An input is one byte that says what it becomes, one of source, one of keys, then bytes of the datagram.

use std::sync::Mutex;

use crate::cells::{check_key, down, packed, packed_down, source, ticket_id, up};
use crate::crypto::Aead;
use crate::driver::{Plane, CELL_SIZE};
use crate::model;

const LINES: u8 = 4;
/// Keys of lines' current and following epochs, and some of nobody.
const KEYS: u8 = 10;
/// Inputs after which what waits is taken and a slot is sent: upcalls and queues are full now and then.
const ROUND: u64 = 512;
/// Inputs of one data plane: lines would expire after 30,000, a millisecond each, of which none was theirs.
const LIFE: u64 = 20_000;
const BEGIN: u64 = 1000;

struct Bed {
    plane: Plane,
    aead: Aead,
    packets: [u64; KEYS as usize],
    number: u64,
}

static BED: Mutex<Option<Bed>> = Mutex::new(None);

fn bed() -> Bed {
    let plane = Plane::new();
    for index in 0..LINES {
        let line = plane.add_line(index.into(), &packed(&up(index)), 1.0);
        assert!(plane.prepare(line, Some(packed(&up(index + LINES)))));
        // The last one has no address yet.
        if index + 1 < LINES {
            let keys = packed_down(&down(u32::from(index), 0xfff0, 0));
            assert!(plane.settle(line, Some(keys), &source(index), false));
        }
    }
    assert!(plane.cross(1, 2));
    plane.permit(&[0; 16]);
    plane.check_keys(&check_key(0), &check_key(1));
    Bed { plane, aead: Aead::new().expect("libcrypto"), packets: [0; KEYS as usize], number: BEGIN }
}

impl Bed {
    /// What an input becomes.
    fn datagram(&mut self, how: u8, keys: u8, data: &[u8]) -> Vec<u8> {
        if how & 3 == 0 {
            return data.to_vec();
        }
        let keys = keys % KEYS;
        let mut cell = vec![0; CELL_SIZE];
        cell[..2].copy_from_slice(&[0x80, 111]);
        cell[8..12].copy_from_slice(&up(keys).ssrc.to_be_bytes());
        match how & 3 {
            1 => {
                let size = data.len().min(CELL_SIZE - 12);
                cell[12..12 + size].copy_from_slice(&data[..size]);
            }
            2 => self.seal(keys, how >> 2, data, &mut cell),
            _ => {
                cell[8] |= how & 0x80;
                let id = ticket_id(&mut self.aead, data.first().copied().unwrap_or(0), how >> 2);
                cell[12..28].copy_from_slice(&id);
            }
        }
        cell
    }

    /// An authentic cell, mostly: `how` moves it before or behind its place, and damages some.
    fn seal(&mut self, keys: u8, how: u8, data: &[u8], cell: &mut [u8]) {
        let next = &mut self.packets[usize::from(keys)];
        let packet = match how & 7 {
            0..=3 => *next,
            4 => next.saturating_sub(u64::from(how)),
            5 => *next + u64::from(how),
            6 => *next + 0x7f00,
            _ => next.saturating_sub(130),
        };
        *next = packet.max(*next) + 1;
        let (header, sealed) = cell.split_at_mut(12);
        header[2..4].copy_from_slice(&(packet as u16).to_be_bytes());
        let mut payload = [0; 132];
        let size = data.len().min(payload.len());
        payload[..size].copy_from_slice(&data[..size]);
        let up = up(keys);
        assert!(self.aead.seal(&up.key, &model::nonce(&up.salt, up.ssrc, packet), header, &payload, sealed));
        if how & 0x18 == 0x18 {
            cell[usize::from(how) % CELL_SIZE] ^= how;
        }
    }
}

/// Play one input: one datagram in, and now and then cells out.
pub fn play(data: &[u8]) -> (u64, u64) {
    let [how, from, keys, rest @ ..] = data else { return (0, 0) };
    let mut kept = BED.lock().expect("one thread");
    if kept.as_ref().is_some_and(|bed| bed.number >= BEGIN + LIFE) {
        *kept = None;
    }
    let bed = kept.get_or_insert_with(bed);
    let now = bed.number as f64 * 0.001;
    bed.number += 1;
    let datagram = bed.datagram(*how, *keys, rest);
    let before = model::fates(&bed.plane.counters());
    bed.plane.receive(&[(datagram, source(*from))], now);
    assert_eq!(model::fates(&bed.plane.counters()), before + 1, "a datagram without exactly one fate");
    if bed.number % ROUND != 0 {
        return (1, 0);
    }
    assert!(bed.plane.upcalls().len() <= 256);
    let left: usize = (0..20).map(|slot| bed.plane.slot(bed.number / 20 * 20 + slot, now).len()).sum();
    (1, left as u64)
}

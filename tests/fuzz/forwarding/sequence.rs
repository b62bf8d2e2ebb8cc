//! What an input means: see sequences.py, which says the same for the data planes that Python drives.

use std::sync::Mutex;

use crate::cells::{check_key, down, packed, packed_down, source, ticket_id, up, Stream};
use crate::crypto::Aead;
use crate::driver::{Plane, CELL_SIZE};
use crate::model::Model;
use crate::sys::Address;

const MAX_OPERATIONS: usize = 200;
const MAX_LINES: usize = 32;
const KEYS: u8 = 16;
const BATCH: usize = 64;
const MANY: u8 = 0xfc;
const FIRST_SLOT: u64 = 1000;
const SLOTS: u8 = 20;

/// Sealing takes a context of libcrypto, which is kept from input to input.
static AEAD: Mutex<Option<Aead>> = Mutex::new(None);

fn repetitions(count: u8) -> usize {
    if count >= MANY {
        100 + 64 * usize::from(count & 3)
    } else {
        1 + usize::from(count & 3)
    }
}

struct Run<'a> {
    plane: Plane,
    model: Model,
    aead: &'a mut Aead,
    data: &'a [u8],
    at: usize,
    number: u64,
    lines: Vec<u64>,
    downs: u32,
    waiting: Vec<(Vec<u8>, Address)>,
    datagrams: u64,
    stream: Option<Stream>,
}

/// Play one input on a fresh data plane: datagrams that went in, and cells that came out.
pub fn play(data: &[u8]) -> (u64, u64) {
    let mut aead = AEAD.lock().expect("one thread");
    let aead = aead.get_or_insert_with(|| Aead::new().expect("libcrypto"));
    let mut run = Run {
        plane: Plane::new(),
        model: Model::new(),
        aead,
        data,
        at: 0,
        number: FIRST_SLOT,
        lines: vec![],
        downs: 0,
        waiting: vec![],
        datagrams: 0,
        stream: None,
    };
    run.play();
    (run.datagrams, run.model.cells)
}

impl Run<'_> {
    fn play(&mut self) {
        if self.byte() & 1 == 1 {
            self.set_up();
        }
        for _ in 0..MAX_OPERATIONS {
            if self.at >= self.data.len() {
                break;
            }
            let operation = self.byte() & 15;
            self.operation(operation);
        }
        self.deliver();
        (0..SLOTS).for_each(|_| self.slot());
        self.upcalls();
        self.model.counts(self.datagrams, &self.plane.counters());
    }

    fn now(&self) -> f64 {
        self.number as f64 * 0.001
    }

    fn byte(&mut self) -> u8 {
        let value = self.data.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        value
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn line(&mut self) -> u64 {
        let index = self.byte();
        if self.lines.is_empty() || index >= 0xf0 {
            u64::from(index)
        } else {
            self.lines[usize::from(index) % self.lines.len()]
        }
    }

    fn set_up(&mut self) {
        for index in 0..4 {
            self.add(index, index);
            let line = self.lines[usize::from(index)];
            self.settle(line, index, 2, 0xfff0, 0);
            assert!(self.plane.prepare(line, Some(packed(&up(index + 4)))));
        }
        assert!(self.plane.cross(self.lines[0], self.lines[1]));
        self.plane.permit(&[0; 16]);
        self.plane.check_keys(&check_key(0), &check_key(1));
    }

    fn operation(&mut self, operation: u8) {
        if operation > 4 {
            self.deliver();
        }
        match operation {
            0 | 1 => self.cells(operation == 1),
            2 => self.raw(),
            3 => {
                let (source, mut cell) = (source(self.byte()), self.bare_header());
                let fill = self.byte();
                cell.resize(CELL_SIZE, fill);
                self.arrive(cell, source);
            }
            4 => self.first_messages(),
            5 => {
                let (slot, index) = (self.byte() % SLOTS, self.byte() % KEYS);
                self.add(index, slot);
            }
            6 => {
                let (line, index) = (self.line(), self.byte());
                self.plane.prepare(line, (index < 0xf0).then(|| packed(&up(index % KEYS))));
            }
            7 => {
                let (line, source, flags, sequence_number) = (self.line(), self.byte(), self.byte(), self.word());
                let rollover_counter = self.byte();
                self.settle(line, source, flags, sequence_number, rollover_counter);
            }
            8 => {
                let (one, other) = (self.line(), self.line());
                self.plane.cross(one, other);
            }
            9 => {
                let line = self.line();
                self.plane.uncross(line);
            }
            10 => {
                let (line, count, fill) = (self.line(), self.byte(), self.byte());
                for _ in 0..1 + count % 10 {
                    self.plane.control(line, fill);
                }
            }
            11 => {
                let line = self.line();
                if self.plane.remove(line) {
                    self.model.removed(line);
                }
            }
            12 => self.singles(),
            13 => self.gate(),
            14 => {
                let count = self.byte();
                if count >= MANY {
                    self.steady(30 + 30 * (count & 3));
                } else {
                    (0..1 + count % 48).for_each(|_| self.slot());
                }
            }
            _ => {
                self.number += u64::from(self.byte()) * 200;
                self.upcalls();
                assert!(self.plane.lines() <= self.lines.len());
            }
        }
    }

    fn raw(&mut self) {
        let (source, size) = (source(self.byte()), usize::from(self.byte()));
        let mut datagram: Vec<u8> = (0..size.min(32)).map(|_| self.byte()).collect();
        datagram.resize(size, 0);
        self.arrive(datagram, source);
    }

    fn first_messages(&mut self) {
        let (source, header) = (source(self.byte()), self.bare_header());
        let (number, how, count) = (self.byte(), self.byte(), self.byte());
        for more in 0..repetitions(count) {
            let mut message = header.clone();
            message.extend_from_slice(&ticket_id(self.aead, number.wrapping_add(more as u8), how));
            message.resize(CELL_SIZE, number);
            self.arrive(message, source);
        }
    }

    fn cells(&mut self, damaged: bool) {
        let (source, index) = (source(self.byte()), self.byte() % KEYS);
        let (sequence_number, rollover_counter) = (self.word(), self.byte());
        let (kind, fill, count) = (self.byte(), self.byte(), self.byte());
        let (position, bits) = if damaged { (usize::from(self.byte()) % CELL_SIZE, self.byte()) } else { (0, 0) };
        let packet = u64::from(rollover_counter) << 16 | u64::from(sequence_number);
        let mut stream = Stream { source, index, packet, kind, fill };
        for _ in 0..repetitions(count) {
            let mut cell = stream.next_cell(self.aead);
            cell[position] ^= bits;
            self.arrive(cell, source);
        }
        self.stream = Some(stream);
    }

    fn steady(&mut self, ticks: u8) {
        for _ in 0..ticks {
            if let Some(mut stream) = self.stream {
                let cell = stream.next_cell(self.aead);
                self.stream = Some(stream);
                self.arrive(cell, stream.source);
                self.deliver();
            }
            (0..SLOTS).for_each(|_| self.slot());
        }
    }

    fn bare_header(&mut self) -> Vec<u8> {
        let index = self.byte();
        let ssrc = if index < 0x80 { up(index % KEYS).ssrc } else { 0x3000_0000 + u32::from(index) };
        [&[0x80, 111, 0, 0, 0, 0, 0, 0][..], &ssrc.to_be_bytes()].concat()
    }

    fn arrive(&mut self, datagram: Vec<u8>, source: Address) {
        self.waiting.push((datagram, source));
        if self.waiting.len() == BATCH {
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        self.datagrams += self.waiting.len() as u64;
        self.plane.receive(&self.waiting, self.now());
        self.waiting.clear();
    }

    fn add(&mut self, index: u8, slot: u8) {
        if self.lines.len() == MAX_LINES {
            return;
        }
        let line = self.plane.add_line(slot.into(), &packed(&up(index)), self.now());
        if line != 0 {
            self.lines.push(line);
        }
    }

    fn settle(&mut self, line: u64, index: u8, flags: u8, sequence_number: u16, rollover_counter: u8) {
        let keys = (flags & 2 != 0).then(|| down(self.downs, sequence_number, rollover_counter));
        self.downs += u32::from(keys.is_some());
        let address = source(index);
        if self.plane.settle(line, keys.as_ref().map(packed_down), &address, flags & 1 != 0) {
            self.model.settled(line, keys, address);
        }
    }

    fn singles(&mut self) {
        let (slot, count) = (self.byte() % SLOTS, self.byte());
        let mut single = [self.byte(); CELL_SIZE];
        single[0] = 0;
        let address = source(self.byte());
        for _ in 0..repetitions(count) {
            if self.plane.send(slot.into(), &single, &address) {
                self.model.single_waits();
            }
        }
    }

    fn gate(&mut self) {
        let (what, number) = (self.byte() % 3, self.byte());
        match what {
            0 => self.plane.permit(&[number; 16]),
            1 => self.plane.forbid(&[number; 16]),
            _ => {
                let keys: Vec<u8> = (0..number % 17).flat_map(check_key).collect();
                let (own, left) = keys.split_at(keys.len().min(16 * usize::from(number & 3)));
                self.plane.check_keys(own, left);
            }
        }
    }

    fn slot(&mut self) {
        for (datagram, address) in self.plane.slot(self.number, self.now()) {
            self.model.left(self.number, &datagram, &address);
        }
        self.number += 1;
    }

    fn upcalls(&mut self) {
        let upcalls = self.plane.upcalls();
        assert!(upcalls.len() <= 256);
        for upcall in upcalls {
            let size = match upcall.kind {
                0 => CELL_SIZE,
                1 => 131,
                2 => 132,
                _ => 0,
            };
            assert_eq!(upcall.payload.len(), size);
            assert!(upcall.line == 0 || self.lines.contains(&upcall.line));
            #[cfg(planted)]
            if upcall.kind == 2 {
                crate::planted(&upcall.payload);
            }
        }
    }
}

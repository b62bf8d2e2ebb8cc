//! The kernel's floor: what a relay of cells costs when it does nothing but receive and send.
//!
//! The same system calls in the same batches and at the same moments as the reflector's data plane, no cryptography,
//! no table: a cell says its line's number where others have their SSRC, and goes to the line beside it.

#![deny(unsafe_op_in_unsafe_fn)]

#[path = "../../relay/media_reflector/forwarding/native/sys.rs"]
#[allow(dead_code)]
mod sys;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use sys::{Address, Batch, AF_INET};

const CELL: usize = 160;
const BATCH: usize = 128;
const SLOTS: u64 = 20;
const SLOT: u64 = 1_000_000;

pub struct Floor {
    fd: i32,
    cells: Vec<[u8; CELL]>,
    addresses: Vec<Option<Address>>,
    inbox: Batch,
    outbox: Batch,
}

impl Floor {
    fn new(fd: i32, lines: usize) -> Floor {
        Floor {
            fd,
            cells: vec![[0; CELL]; lines],
            addresses: vec![None; lines],
            inbox: Batch::new(BATCH, CELL + 1, 0),
            outbox: Batch::new(BATCH, CELL, 0),
        }
    }

    /// At every slot's edge the last cell for each of its lines, then everything that waits.
    fn relay(&mut self, stop: &AtomicBool) {
        let mut slot = sys::monotonic() / SLOT + 1;
        while !stop.load(Relaxed) {
            sys::sleep_until(slot * SLOT);
            let mut count = 0;
            for line in ((slot % SLOTS) as usize..self.cells.len()).step_by(SLOTS as usize) {
                let Some(address) = self.addresses[line] else { continue };
                self.outbox.datagram_mut(count).copy_from_slice(&self.cells[line]);
                self.outbox.set_destination(count, &address, AF_INET);
                count += 1;
                if count == BATCH {
                    self.send(count);
                    count = 0;
                }
            }
            self.send(count);
            slot = (sys::monotonic() / SLOT).max(slot) + 1;
            while self.receive(|_, _| ()) == BATCH && sys::monotonic() < slot * SLOT {}
        }
    }

    /// Everything at once, the moment that it comes: what a relay without slots does, and why it gives calls away.
    fn forward(&mut self, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            let mut due = Vec::with_capacity(BATCH);
            self.receive(|line, _| due.push(line));
            for (place, line) in due.iter().enumerate() {
                self.outbox.datagram_mut(place).copy_from_slice(&self.cells[*line]);
                let address = self.addresses[*line].unwrap_or([0; 18]);
                self.outbox.set_destination(place, &address, AF_INET);
            }
            self.send(due.len());
            if due.is_empty() {
                sys::sleep_until(sys::monotonic() + SLOT / 20);
            }
        }
    }

    fn receive(&mut self, mut each: impl FnMut(usize, &Address)) -> usize {
        let count = self.inbox.receive(self.fd).unwrap_or(0);
        for at in 0..count {
            let datagram = self.inbox.datagram(at);
            let Ok(cell) = <&[u8; CELL]>::try_from(datagram) else { continue };
            let line = u32::from_be_bytes([cell[8], cell[9], cell[10], cell[11]]) as usize;
            let other = line ^ 1;
            if line.max(other) >= self.cells.len() {
                continue;
            }
            self.cells[other] = *cell;
            let source = self.inbox.source(at);
            self.addresses[line] = Some(source);
            each(other, &source);
        }
        count
    }

    fn send(&mut self, count: usize) {
        let mut done = 0;
        while done < count {
            done += self.outbox.send(self.fd, done, count).unwrap_or(1);
        }
    }
}

/// A floor for that many lines on a socket that stays the caller's.
#[no_mangle]
pub extern "C" fn floor_new(fd: i32, lines: usize) -> *mut Floor {
    Box::into_raw(Box::new(Floor::new(fd, lines)))
}

/// Relay until `stop` is not zero, in slots or `at_once`.
///
/// # Safety
/// `floor` came from `floor_new`, and nobody else runs it; `stop` outlives the call.
#[no_mangle]
pub unsafe extern "C" fn floor_run(floor: *mut Floor, at_once: bool, stop: *const AtomicBool) {
    // SAFETY: as the caller promises.
    let (floor, stop) = unsafe { (&mut *floor, &*stop) };
    sys::wake_exactly();
    sys::run_promptly();
    if at_once {
        floor.forward(stop)
    } else {
        floor.relay(stop)
    }
}

//! Threads with sockets: each sends at the edges of its slots and drains its sockets in between.
//!
//! The cells of a slot are sealed before its edge, the thread sleeps to the edge, sends, and only then looks at what has
//! come.  So nothing that arrives moves a departure: draining stops in time for the next edge, and what is left waits in the
//! kernel.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crate::counters::{Count, Tally};
use crate::depart::{depart, due, Departures, Share};
use crate::line::CELL_SIZE;
use crate::plane::{Hand, Plane, SLOTS};
use crate::receive::{receive, Arrivals};
use crate::sys::{
    is_ipv4, monotonic, run_promptly, sleep_until, wake_exactly, Address, Batch, AF_INET, AF_INET6, EAGAIN, EINTR,
};

/// One slot, in nanoseconds of the monotonic clock.
const SLOT: u64 = 1_000_000;
/// Datagrams for one system call.
const BATCH: usize = 128;
/// One byte more than a cell would do to tell longer ones; this is what fits the cache lines.
const RECEIVED_SIZE: usize = 192;
/// Nanoseconds before an edge in which nothing is begun any more: time for the thread to fall asleep and wake.
const CALM: u64 = 60_000;
/// Errors of one socket after which it is left alone until the next slot.
const PATIENCE: usize = 16;

/// A socket of Python's, which keeps it open while workers run, and its family.
#[derive(Clone, Copy)]
pub struct Socket {
    pub descriptor: c_int,
    pub family: u16,
}

pub struct Workers {
    ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// One thread for each group of sockets.
    pub fn start(plane: &Arc<Plane>, groups: Vec<Vec<Socket>>) -> Result<Self, String> {
        let mut started = Workers { ending: Arc::default(), threads: Vec::new() };
        let workers = groups.len() as u32;
        for (worker, sockets) in (0..).zip(groups) {
            let (plane, hand, ending) = (Arc::clone(plane), plane.hand()?, Arc::clone(&started.ending));
            let share = Share { worker, workers };
            let work = move || Worker::new(&plane, hand, sockets, share).run(&ending);
            let thread = Builder::new().name(format!("cells-{worker}")).spawn(work);
            started.threads.push(thread.map_err(|_| "the system gave no thread")?);
        }
        Ok(started)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.ending.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in a worker has ended the process already.
            let _ = thread.join();
        }
    }
}

impl Arrivals for Batch {
    fn datagram(&self, i: usize) -> &[u8] {
        Batch::datagram(self, i)
    }

    fn source(&self, i: usize) -> Address {
        Batch::source(self, i)
    }
}

/// The sealed cells of one slot that leave through one socket.
struct Outlet {
    socket: Socket,
    batches: Vec<Batch>,
    count: usize,
}

impl Outlet {
    fn send(&mut self, tally: &mut Tally) {
        for (i, batch) in self.batches.iter_mut().enumerate() {
            let (mut at, end) = (0, self.count.saturating_sub(i * BATCH).min(BATCH));
            while at < end {
                match batch.send(self.socket.descriptor, at, end) {
                    Ok(sent) => at += sent.max(1),
                    Err(EINTR) => {}
                    // A full buffer, a firewall's refusal: about this datagram alone, and the line's next one comes in a tick.
                    Err(_) => {
                        tally.count(Count::SendFailed);
                        at += 1;
                    }
                }
            }
        }
        self.count = 0;
    }
}

/// The sealed cells of one slot.
struct Outbox {
    outlets: Vec<Outlet>,
    last: Option<usize>,
    unreachable: u64,
    nowhere: [u8; CELL_SIZE],
}

impl Outbox {
    fn new(sockets: &[Socket]) -> Self {
        let outlets = sockets.iter().map(|socket| Outlet { socket: *socket, batches: Vec::new(), count: 0 }).collect();
        Outbox { outlets, last: None, unreachable: 0, nowhere: [0; CELL_SIZE] }
    }

    /// IPv4 through an IPv4 socket if there is one, else mapped, as a socket for both families takes it.
    fn outlet_for(&self, address: &Address) -> Option<usize> {
        let with = |family| self.outlets.iter().position(|outlet| outlet.socket.family == family);
        if is_ipv4(address) {
            with(AF_INET).or_else(|| with(AF_INET6))
        } else {
            with(AF_INET6)
        }
    }

    fn send(&mut self, tally: &mut Tally) {
        tally.add(Count::SendFailed, std::mem::take(&mut self.unreachable));
        for outlet in &mut self.outlets {
            outlet.send(tally);
        }
    }
}

impl Departures for Outbox {
    #[inline]
    fn add(&mut self, address: &Address) -> &mut [u8; CELL_SIZE] {
        self.last = self.outlet_for(address);
        let Some(last) = self.last else {
            self.unreachable += 1;
            return &mut self.nowhere;
        };
        let outlet = &mut self.outlets[last];
        let (batch, i) = (outlet.count / BATCH, outlet.count % BATCH);
        if batch == outlet.batches.len() {
            outlet.batches.push(Batch::new(BATCH, CELL_SIZE, 0));
        }
        outlet.count += 1;
        outlet.batches[batch].set_destination(i, address, outlet.socket.family);
        outlet.batches[batch].datagram_mut(i).try_into().expect("room for a cell")
    }

    fn withdraw(&mut self) {
        match self.last {
            Some(last) => self.outlets[last].count -= 1,
            None => self.unreachable -= 1,
        }
    }
}

struct Worker<'a> {
    plane: &'a Plane,
    hand: Hand,
    share: Share,
    sockets: Vec<Socket>,
    outbox: Outbox,
    inbox: Batch,
    /// How long sealing took, by slot, the last time: so long before an edge draining ends.
    sealing: [u64; SLOTS],
}

impl<'a> Worker<'a> {
    fn new(plane: &'a Plane, hand: Hand, sockets: Vec<Socket>, share: Share) -> Self {
        let (outbox, inbox) = (Outbox::new(&sockets), Batch::new(BATCH, RECEIVED_SIZE, 0));
        Worker { plane, hand, share, sockets, outbox, inbox, sealing: [0; SLOTS] }
    }

    fn run(mut self, ending: &AtomicBool) {
        wake_exactly();
        run_promptly();
        let mut number = monotonic() / SLOT + 2;
        while !ending.load(Relaxed) {
            self.seal(number);
            sleep_until(number * SLOT);
            self.outbox.send(&mut self.hand.tally);
            number = self.following(number);
            self.drain((number * SLOT).saturating_sub(self.sealing[(number % SLOTS as u64) as usize] + CALM));
            self.hand.tally.flush(&self.plane.counters);
        }
    }

    fn seal(&mut self, number: u64) {
        let began = monotonic();
        let edge = seconds(number * SLOT);
        depart(self.plane, &mut self.hand, self.share, number, edge, &mut self.outbox);
        self.sealing[(number % SLOTS as u64) as usize] = monotonic() - began;
    }

    /// The slot after this one.  After a standstill each line gets one cell at once, and no more: what a whole tick and
    /// longer ago should have left never leaves.
    fn following(&mut self, number: u64) -> u64 {
        let next = number + 1;
        let earliest = (monotonic() / SLOT).saturating_sub(SLOTS as u64 - 1);
        let skipped = earliest.saturating_sub(next);
        for first in next..next + skipped.min(SLOTS as u64) {
            let ticks = (earliest - first + SLOTS as u64 - 1) / SLOTS as u64;
            self.hand.tally.add(Count::DeparturesMissed, ticks * due(self.plane, self.share, first));
        }
        next + skipped
    }

    /// Take what waits on the sockets: one batch of each at least, and on while another is likely done before `end`.
    fn drain(&mut self, end: u64) {
        for i in 0..self.sockets.len() {
            let (mut failures, descriptor) = (0, self.sockets[i].descriptor);
            loop {
                let began = monotonic();
                match self.inbox.receive(descriptor) {
                    Ok(count) => {
                        receive(self.plane, &mut self.hand, &self.inbox, count, seconds(began));
                        if count < BATCH {
                            break;
                        }
                    }
                    Err(EAGAIN) => break,
                    Err(EINTR) => {}
                    // Such as an ICMP error that somebody's datagram met: it says nothing about the next.
                    Err(_) => {
                        self.hand.tally.count(Count::ReceiveFailed);
                        failures += 1;
                        if failures == PATIENCE {
                            break;
                        }
                    }
                }
                let now = monotonic();
                if now + (now - began) >= end {
                    break;
                }
            }
        }
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{Down, UpEpoch};
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    #[test]
    fn cells_leave_in_every_tick_until_the_end() {
        let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        theirs.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let plane = Arc::new(Plane::new().unwrap());
        let number = plane.add_line(3, UpEpoch::new(1, [0; 16], [0; 12]), seconds(monotonic())).unwrap();
        let down = Down { key: [1; 16], salt: [2; 12], ssrc: 2, timestamp: 0, rollover_counter: 0, sequence_number: 7 };
        let mut address = [0; 18];
        address[10..16].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
        address[16..].copy_from_slice(&theirs.local_addr().unwrap().port().to_be_bytes());
        assert!(plane.settle(number, Some(down), address, false));
        let socket = Socket { descriptor: ours.as_raw_fd(), family: AF_INET };
        let workers = Workers::start(&plane, vec![vec![socket]]).unwrap();
        let mut epoch = UpEpoch::new(2, [1; 16], [2; 12]);
        let (mut aead, mut cell, mut payload) = (crate::crypto::Aead::new().unwrap(), [0; CELL_SIZE], [0; 132]);
        for _ in 0..5 {
            assert_eq!(theirs.recv(&mut cell).unwrap(), CELL_SIZE);
            assert!(epoch.open(&mut aead, &cell, &mut payload).is_ok());
        }
        drop(workers);
        assert!(plane.counters.read()[Count::CellsSent as usize] >= 5);
    }
}

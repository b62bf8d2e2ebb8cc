//! What plain batches lack: a source address for each datagram that leaves (so that one socket stands for many agents),
//! and the kernel's own time stamp for each that comes.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::sys::{self, Address, Batch, AF_INET};

pub const BATCH: usize = 128;
/// Room for a cell behind a TURN channel header, and to see that something is longer.
const ROOM: usize = 192;

const SOL_SOCKET: i32 = 1;
const SO_TIMESTAMPNS: i32 = 35;
const IPPROTO_IP: i32 = 0;
const IP_PKTINFO: i32 = 8;
/// Both kinds of ancillary data here take this much with their filling (cmsg(3)); the header takes 16 of it.
const CONTROL: usize = 32;

/// Nanoseconds of CLOCK_MONOTONIC, the clock of slots.
pub fn monotonic() -> i64 {
    sys::monotonic() as i64
}

/// What has to be added to the kernel's stamps (CLOCK_REALTIME) to get CLOCK_MONOTONIC.
pub fn monotonic_offset() -> i64 {
    let before = monotonic();
    let real = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
    (before + monotonic()) / 2 - real
}

/// Where a datagram goes and where it claims to come from.
#[derive(Clone, Copy)]
pub struct Route {
    pub destination: Address,
    /// In network byte order.
    pub source: u32,
}

impl Route {
    /// All in network byte order.
    pub fn new(source: u32, destination: u32, port: u16) -> Route {
        let mut packed = [0; 18];
        packed[10..12].copy_from_slice(&[0xff, 0xff]);
        packed[12..16].copy_from_slice(&destination.to_ne_bytes());
        packed[16..].copy_from_slice(&port.to_ne_bytes());
        Route { destination: packed, source }
    }
}

/// Datagrams of one size that leave together.
pub struct Outbox {
    batch: Batch,
    count: usize,
}

impl Outbox {
    pub fn new(size: usize) -> Outbox {
        Outbox { batch: Batch::new(BATCH, size, CONTROL), count: 0 }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// The place for one more datagram; there must be room.
    pub fn place(&mut self, route: &Route) -> &mut [u8] {
        let at = self.count;
        self.count += 1;
        self.batch.set_destination(at, &route.destination, AF_INET);
        let control = self.batch.control_mut(at);
        control[..8].copy_from_slice(&28usize.to_ne_bytes());
        control[8..12].copy_from_slice(&IPPROTO_IP.to_ne_bytes());
        control[12..16].copy_from_slice(&IP_PKTINFO.to_ne_bytes());
        control[20..24].copy_from_slice(&route.source.to_ne_bytes());
        self.batch.datagram_mut(at)
    }

    /// Send all; how many the kernel took.
    pub fn send(&mut self, fd: i32) -> usize {
        let (mut done, mut taken) = (0, 0);
        while done < self.count {
            let sent = self.batch.send(fd, done, self.count).unwrap_or(0);
            // An error concerns the first one of what is left: it is lost, the others are tried.
            done += sent.max(1);
            taken += sent;
        }
        self.count = 0;
        taken
    }
}

/// Datagrams that came together.
pub struct Inbox(Batch);

impl Inbox {
    pub fn new() -> Inbox {
        Inbox(Batch::new(BATCH, ROOM, CONTROL))
    }

    /// How many came; never waits.
    pub fn receive(&mut self, fd: i32) -> usize {
        self.0.receive(fd).unwrap_or(0)
    }

    pub fn datagram(&self, at: usize) -> &[u8] {
        self.0.datagram(at)
    }

    /// When it came, in nanoseconds of CLOCK_REALTIME; none when the kernel gave no stamp.
    pub fn stamp(&self, at: usize) -> Option<i64> {
        let control = self.0.control(at);
        let number = |from: usize| control.get(from..from + 8)?.try_into().ok().map(i64::from_ne_bytes);
        let kind = i64::from(SOL_SOCKET) | i64::from(SO_TIMESTAMPNS) << 32;
        (number(8)? == kind).then_some(number(16)? * 1_000_000_000 + number(24)?)
    }
}

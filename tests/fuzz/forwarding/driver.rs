//! The native data plane's face towards Python, as calls that take and give Rust values.
//!
//! Every buffer that goes in is exactly as long as it says, on the heap, so that one byte read too far is seen.

use crate::counters::COUNTS;
use crate::ffi::{self, Handle};
use crate::sys::Address;

pub const CELL_SIZE: usize = 160;
const BODY_SIZE: usize = 131;
const ADDRESS_SIZE: usize = 18;
const UPCALLS_ROOM: usize = 256 * (2 + 8 + ADDRESS_SIZE + 2 + CELL_SIZE);

pub struct Plane(*mut Handle);

// SAFETY: a data plane may be called from any thread.
unsafe impl Send for Plane {}

impl Drop for Plane {
    fn drop(&mut self) {
        // SAFETY: made by `forwarding_new`, freed once.
        unsafe { ffi::forwarding_free(self.0) };
    }
}

/// What is to be decided above: kind, line, bytes.
pub struct Upcall {
    pub kind: u8,
    pub line: u64,
    pub payload: Vec<u8>,
}

impl Plane {
    pub fn new() -> Plane {
        let mut error = [0; 128];
        // SAFETY: room for as many bytes as is said.
        let handle = unsafe { ffi::forwarding_new(error.as_mut_ptr(), error.len()) };
        assert!(!handle.is_null(), "{}", String::from_utf8_lossy(&error));
        Plane(handle)
    }

    fn handle(&self) -> &Handle {
        // SAFETY: made by `forwarding_new`, and freed with `self`.
        unsafe { &*self.0 }
    }

    pub fn add_line(&self, slot: u32, up: &[u8; 32], now: f64) -> u64 {
        ffi::forwarding_add_line(self.handle(), slot, &Box::new(*up), now)
    }

    pub fn prepare(&self, line: u64, up: Option<[u8; 32]>) -> bool {
        ffi::forwarding_prepare(self.handle(), line, up.map(Box::new).as_deref())
    }

    pub fn settle(&self, line: u64, down: Option<[u8; 42]>, address: &Address, advance: bool) -> bool {
        ffi::forwarding_settle(self.handle(), line, down.map(Box::new).as_deref(), &Box::new(*address), advance)
    }

    pub fn cross(&self, one: u64, other: u64) -> bool {
        ffi::forwarding_cross(self.handle(), one, other)
    }

    pub fn uncross(&self, line: u64) -> bool {
        ffi::forwarding_uncross(self.handle(), line)
    }

    pub fn control(&self, line: u64, fill: u8) -> bool {
        ffi::forwarding_control(self.handle(), line, &Box::new([fill; BODY_SIZE]))
    }

    pub fn remove(&self, line: u64) -> bool {
        ffi::forwarding_remove(self.handle(), line)
    }

    pub fn send(&self, slot: u32, datagram: &[u8; CELL_SIZE], address: &Address) -> bool {
        ffi::forwarding_send(self.handle(), slot, &Box::new(*datagram), &Box::new(*address))
    }

    pub fn permit(&self, id: &[u8; 16]) {
        ffi::forwarding_permit(self.handle(), &Box::new(*id));
    }

    pub fn forbid(&self, id: &[u8; 16]) {
        ffi::forwarding_forbid(self.handle(), &Box::new(*id));
    }

    pub fn check_keys(&self, own: &[u8], left: &[u8]) {
        let keys = [own, left].concat().into_boxed_slice();
        // SAFETY: as many bytes as is said, here and below.
        unsafe { ffi::forwarding_check_keys(self.handle(), keys.as_ptr(), keys.len(), own.len() / 16) };
    }

    pub fn counters(&self) -> [u64; COUNTS] {
        let mut counts = Box::new([0; COUNTS]);
        ffi::forwarding_counters(self.handle(), &mut counts);
        *counts
    }

    pub fn lines(&self) -> usize {
        ffi::forwarding_lines(self.handle())
    }

    pub fn upcalls(&self) -> Vec<Upcall> {
        let mut packed = vec![0; UPCALLS_ROOM];
        let size = unsafe { ffi::forwarding_upcalls(self.handle(), packed.as_mut_ptr(), packed.len()) };
        let (mut rest, mut found) = (&packed[..size], Vec::new());
        while !rest.is_empty() {
            let end = 30 + usize::from(u16::from_be_bytes([rest[28], rest[29]]));
            let line = u64::from_be_bytes(rest[2..10].try_into().expect("eight"));
            found.push(Upcall { kind: rest[0], line, payload: rest[30..end].to_vec() });
            rest = &rest[end..];
        }
        found
    }

    pub fn receive(&self, datagrams: &[(Vec<u8>, Address)], now: f64) {
        let mut packed = Vec::new();
        for (datagram, source) in datagrams {
            packed.extend_from_slice(source);
            packed.extend_from_slice(&(datagram.len() as u16).to_be_bytes());
            packed.extend_from_slice(datagram);
        }
        let packed = packed.into_boxed_slice();
        assert!(unsafe { ffi::forwarding_receive(self.handle(), packed.as_ptr(), packed.len(), now) });
    }

    pub fn slot(&self, number: u64, now: f64) -> Vec<([u8; CELL_SIZE], Address)> {
        let size = ffi::forwarding_slot(self.handle(), number, now);
        let mut packed = vec![0; size];
        let filled = unsafe { ffi::forwarding_departures(self.handle(), packed.as_mut_ptr(), packed.len()) };
        assert_eq!((filled, filled % (ADDRESS_SIZE + CELL_SIZE)), (size, 0));
        let one = |bytes: &[u8]| {
            let (address, cell) = bytes.split_at(ADDRESS_SIZE);
            (cell.try_into().expect("a cell"), address.try_into().expect("an address"))
        };
        packed.chunks(ADDRESS_SIZE + CELL_SIZE).map(one).collect()
    }
}

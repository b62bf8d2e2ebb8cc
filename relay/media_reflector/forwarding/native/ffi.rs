//! The face towards Python (native.py): numbers, and packed bytes whose sizes both sides check.
//!
//! A reference here is a pointer there, which native.py never lets be null (but where `Option` says so), never lets be
//! shorter than its type says, and keeps for the time of the call.  A `Handle` comes from `forwarding_new` and is gone with
//! `forwarding_free`.
//!
//! A panic ends the process (build.py: panic=abort).  It never crosses into Python, and no half-changed state lives on to
//! seal a second cell under a nonce; the service manager starts the reflector anew.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::slice::{from_raw_parts, from_raw_parts_mut};
use std::sync::{Arc, Mutex};

use crate::counters::COUNTS;
use crate::crypto;
use crate::depart::{depart, Departures, Share};
use crate::gate::MAX_CHECK_KEYS;
use crate::line::{Body, Down, UpEpoch, CELL_SIZE};
use crate::plane::{Hand, Plane};
use crate::receive::{receive, Arrivals};
use crate::sys::Address;
use crate::upcalls::{TicketId, Upcall};
use crate::worker::{Socket, Workers};

const ADDRESS_SIZE: usize = 18;
const KEY_SIZE: usize = 16;
/// SSRC, key, salt.
const UP_SIZE: usize = 4 + 16 + 12;
/// The same, then sequence number, timestamp, rollover counter.
const DOWN_SIZE: usize = UP_SIZE + 2 + 4 + 4;

/// What Python holds.
pub struct Handle {
    plane: Arc<Plane>,
    by_hand: Mutex<ByHand>,
    workers: Mutex<Option<Workers>>,
}

/// For `receive` and `slot`, which whoever drives the plane without sockets calls.
struct ByHand {
    hand: Hand,
    departures: Packed,
}

/// Departing datagrams, each behind its address.
#[derive(Default)]
struct Packed(Vec<u8>);

impl Departures for Packed {
    fn add(&mut self, address: &Address) -> &mut [u8; CELL_SIZE] {
        self.0.extend_from_slice(address);
        let at = self.0.len();
        self.0.resize(at + CELL_SIZE, 0);
        (&mut self.0[at..]).try_into().expect("just made so long")
    }

    fn withdraw(&mut self) {
        self.0.truncate(self.0.len() - ADDRESS_SIZE - CELL_SIZE);
    }
}

/// Arrived datagrams: address and bytes.
struct Unpacked<'a>(Vec<(Address, &'a [u8])>);

impl<'a> Unpacked<'a> {
    /// From address, size (2 bytes) and bytes of each; None when the sizes do not fit.
    fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut arrivals = Vec::new();
        while !bytes.is_empty() {
            let address = array(bytes.get(..ADDRESS_SIZE)?)?;
            let size = u16::from_be_bytes(array(bytes.get(ADDRESS_SIZE..ADDRESS_SIZE + 2)?)?);
            let end = ADDRESS_SIZE + 2 + usize::from(size);
            arrivals.push((address, bytes.get(ADDRESS_SIZE + 2..end)?));
            bytes = &bytes[end..];
        }
        Some(Unpacked(arrivals))
    }
}

impl Arrivals for Unpacked<'_> {
    fn datagram(&self, i: usize) -> &[u8] {
        self.0[i].1
    }

    fn source(&self, i: usize) -> Address {
        self.0[i].0
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// `N` bytes of something longer.
fn part<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[from + i])
}

fn up_epoch(bytes: &[u8; UP_SIZE]) -> UpEpoch {
    UpEpoch::new(u32::from_be_bytes(part(bytes, 0)), part(bytes, 4), part(bytes, 20))
}

fn down_epoch(bytes: &[u8; DOWN_SIZE]) -> Down {
    Down {
        ssrc: u32::from_be_bytes(part(bytes, 0)),
        key: part(bytes, 4),
        salt: part(bytes, 20),
        sequence_number: u16::from_be_bytes(part(bytes, 32)),
        timestamp: u32::from_be_bytes(part(bytes, 34)),
        rollover_counter: u32::from_be_bytes(part(bytes, 38)),
    }
}

/// The bytes that Python shows for the time of one call.
///
/// # Safety
/// `start` leads to `size` bytes that nobody changes during the call.
unsafe fn shown<'a>(start: *const u8, size: usize) -> &'a [u8] {
    from_raw_parts(start, size)
}

/// Room that Python gives for the time of one call.
///
/// # Safety
/// `start` leads to `size` initialised bytes that nobody else reads or changes during the call.
unsafe fn room<'a>(start: *mut u8, size: usize) -> &'a mut [u8] {
    from_raw_parts_mut(start, size)
}

/// As much of `bytes` as there is room for; how much that was.
fn fill(room: &mut [u8], bytes: &[u8]) -> usize {
    let size = bytes.len().min(room.len());
    room[..size].copy_from_slice(&bytes[..size]);
    size
}

/// The hash of the sources that this was built from (build.py); how long that is.
///
/// # Safety
/// `text` is room for `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn forwarding_sources(text: *mut u8, size: usize) -> usize {
    fill(room(text, size), option_env!("FORWARDING_SOURCES").unwrap_or_default().as_bytes())
}

/// A data plane; null, with a sentence in `error`, where libcrypto or the system lacks something.
///
/// # Safety
/// `error` is room for `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn forwarding_new(error: *mut u8, size: usize) -> *mut Handle {
    let made = Plane::new().and_then(|plane| Ok((plane.hand()?, plane)));
    match made {
        Ok((hand, plane)) => {
            let by_hand = Mutex::new(ByHand { hand, departures: Packed::default() });
            Box::into_raw(Box::new(Handle { plane: Arc::new(plane), by_hand, workers: Mutex::default() }))
        }
        Err(reason) => {
            fill(room(error, size), reason.as_bytes());
            std::ptr::null_mut()
        }
    }
}

/// # Safety
/// `handle` comes from `forwarding_new` and is not used again.
#[no_mangle]
pub unsafe extern "C" fn forwarding_free(handle: *mut Handle) {
    drop(Box::from_raw(handle));
}

/// What libcrypto calls itself; how long that is.
///
/// # Safety
/// `text` is room for `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn forwarding_libcrypto(text: *mut u8, size: usize) -> usize {
    fill(room(text, size), crypto::version().unwrap_or_default().as_bytes())
}

/// The new line's number; zero when the SSRC is taken.
#[no_mangle]
pub extern "C" fn forwarding_add_line(handle: &Handle, slot: u32, up: &[u8; UP_SIZE], now: f64) -> u64 {
    handle.plane.add_line(slot as usize, up_epoch(up), now).unwrap_or(0)
}

#[no_mangle]
pub extern "C" fn forwarding_prepare(handle: &Handle, line: u64, up: Option<&[u8; UP_SIZE]>) -> bool {
    handle.plane.prepare(line, up.map(up_epoch))
}

#[no_mangle]
pub extern "C" fn forwarding_settle(
    handle: &Handle,
    line: u64,
    down: Option<&[u8; DOWN_SIZE]>,
    address: &Address,
    advance: bool,
) -> bool {
    handle.plane.settle(line, down.map(down_epoch), *address, advance)
}

#[no_mangle]
pub extern "C" fn forwarding_cross(handle: &Handle, one: u64, other: u64) -> bool {
    handle.plane.cross(one, other)
}

#[no_mangle]
pub extern "C" fn forwarding_uncross(handle: &Handle, line: u64) -> bool {
    handle.plane.uncross(line)
}

#[no_mangle]
pub extern "C" fn forwarding_control(handle: &Handle, line: u64, body: &Body) -> bool {
    handle.plane.control(line, body)
}

#[no_mangle]
pub extern "C" fn forwarding_remove(handle: &Handle, line: u64) -> bool {
    handle.plane.remove(line)
}

#[no_mangle]
pub extern "C" fn forwarding_send(handle: &Handle, slot: u32, datagram: &[u8; CELL_SIZE], address: &Address) -> bool {
    handle.plane.send(slot as usize, *datagram, *address)
}

#[no_mangle]
pub extern "C" fn forwarding_permit(handle: &Handle, id: &TicketId) {
    handle.plane.gate.permit(*id);
}

#[no_mangle]
pub extern "C" fn forwarding_forbid(handle: &Handle, id: &TicketId) {
    handle.plane.gate.forbid(id);
}

/// The first `own` keys are the reflector's own.
///
/// # Safety
/// `keys` shows `size` bytes: keys, one behind the other.
#[no_mangle]
pub unsafe extern "C" fn forwarding_check_keys(handle: &Handle, keys: *const u8, size: usize, own: usize) {
    let keys = shown(keys, size).chunks_exact(KEY_SIZE).take(MAX_CHECK_KEYS);
    let keys: Vec<_> = keys.filter_map(array).collect();
    let (own, left) = keys.split_at(own.min(keys.len()));
    handle.plane.gate.set_check_keys(own, left);
}

#[no_mangle]
pub extern "C" fn forwarding_counters(handle: &Handle, counts: &mut [u64; COUNTS]) {
    *counts = handle.plane.counters.read();
}

#[no_mangle]
pub extern "C" fn forwarding_lines(handle: &Handle) -> usize {
    handle.plane.lines()
}

/// What waits to be decided, packed: kind, whether it was the following epoch, line, address, size of what follows; how
/// long that is.  Python gives room for as many as may wait.
///
/// # Safety
/// `packed` is room for `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn forwarding_upcalls(handle: &Handle, packed: *mut u8, size: usize) -> usize {
    fill(room(packed, size), &pack(handle.plane.upcalls.take()))
}

fn pack(upcalls: VecDeque<Upcall>) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut one = |kind: u8, following: bool, line: u64, source: &Address, data: &[u8]| {
        packed.extend_from_slice(&[kind, following.into()]);
        packed.extend_from_slice(&line.to_be_bytes());
        packed.extend_from_slice(source);
        packed.extend_from_slice(&(data.len() as u16).to_be_bytes());
        packed.extend_from_slice(data);
    };
    for upcall in upcalls {
        match upcall {
            Upcall::Stranger { datagram, source } => one(0, false, 0, &source, &datagram),
            Upcall::ControlReceived { line, body } => one(1, false, line, &[0; ADDRESS_SIZE], &body),
            Upcall::Elsewhere { line, following, payload, source } => one(2, following, line, &source, &payload),
            Upcall::Expired { line } => one(3, false, line, &[0; ADDRESS_SIZE], &[]),
        }
    }
    packed
}

/// Take datagrams, each packed as address, size (2 bytes) and bytes.  False, and none taken, when the sizes do not fit.
///
/// # Safety
/// `packed` shows `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn forwarding_receive(handle: &Handle, packed: *const u8, size: usize, now: f64) -> bool {
    let Some(arrivals) = Unpacked::read(shown(packed, size)) else { return false };
    let hand = &mut handle.by_hand.lock().expect("not poisoned").hand;
    receive(&handle.plane, hand, &arrivals, arrivals.0.len(), now);
    hand.tally.flush(&handle.plane.counters);
    true
}

/// Seal what leaves in slot `number`; how many bytes `forwarding_departures` then has to tell.
#[no_mangle]
pub extern "C" fn forwarding_slot(handle: &Handle, number: u64, now: f64) -> usize {
    let by_hand = &mut *handle.by_hand.lock().expect("not poisoned");
    depart(&handle.plane, &mut by_hand.hand, Share::ALL, number, now, &mut by_hand.departures);
    by_hand.hand.tally.flush(&handle.plane.counters);
    by_hand.departures.0.len()
}

/// The datagrams that slots have sealed by hand, each behind its address.
///
/// # Safety
/// `packed` is room for `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn forwarding_departures(handle: &Handle, packed: *mut u8, size: usize) -> usize {
    let departures = &mut handle.by_hand.lock().expect("not poisoned").departures.0;
    let filled = fill(room(packed, size), departures);
    departures.clear();
    filled
}

/// Start workers: `sockets` has three numbers for each socket, its worker (counted from zero), descriptor and family.  What
/// comes back becomes readable when upcalls wait; -1, with a sentence in `error`, when they could not be started.
///
/// # Safety
/// `sockets` shows `count` times three numbers, `error` is room for `size` bytes; the descriptors stay open until
/// `forwarding_stop`.
#[no_mangle]
pub unsafe extern "C" fn forwarding_start(
    handle: &Handle,
    sockets: *const c_int,
    count: usize,
    error: *mut u8,
    size: usize,
) -> c_int {
    let mut groups: Vec<Vec<Socket>> = Vec::new();
    for socket in from_raw_parts(sockets, count * 3).chunks_exact(3) {
        let worker = socket[0] as usize;
        if worker >= groups.len() {
            groups.resize_with(worker + 1, Vec::new);
        }
        groups[worker].push(Socket { descriptor: socket[1], family: socket[2] as u16 });
    }
    let mut workers = handle.workers.lock().expect("not poisoned");
    // Two generations at once would send every line's cells twice.
    *workers = None;
    match Workers::start(&handle.plane, groups) {
        Ok(started) => {
            *workers = Some(started);
            handle.plane.upcalls.descriptor()
        }
        Err(reason) => {
            fill(room(error, size), reason.as_bytes());
            -1
        }
    }
}

/// End the workers and wait for them.
#[no_mangle]
pub extern "C" fn forwarding_stop(handle: &Handle) {
    *handle.workers.lock().expect("not poisoned") = None;
}

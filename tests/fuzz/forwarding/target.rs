//! The fuzzer's target: the native data plane, entered where Python enters it, with every check that a compiler has.
//!
//! Built by run.py with AddressSanitizer, overflow checks and debug assertions, and linked with libFuzzer.  `sequence`
//! says what an input means (with `--cfg datagrams` it is `datagrams`), `model` what must hold of all that comes out.
//! With `--cfg planted` a fault is put in, behind a cell's authentication, that the fuzzer must find before anybody
//! believes that it found nothing else.

#![no_main]

macro_rules! native {
    ($($name:ident = $path:literal)*) => { $(#[allow(dead_code)] #[path = $path] mod $name;)* };
}

native! {
    counters = "../../../relay/media_reflector/forwarding/native/counters.rs"
    crypto = "../../../relay/media_reflector/forwarding/native/crypto.rs"
    depart = "../../../relay/media_reflector/forwarding/native/depart.rs"
    ffi = "../../../relay/media_reflector/forwarding/native/ffi.rs"
    gate = "../../../relay/media_reflector/forwarding/native/gate.rs"
    limit = "../../../relay/media_reflector/forwarding/native/limit.rs"
    line = "../../../relay/media_reflector/forwarding/native/line.rs"
    plane = "../../../relay/media_reflector/forwarding/native/plane.rs"
    receive = "../../../relay/media_reflector/forwarding/native/receive.rs"
    replay = "../../../relay/media_reflector/forwarding/native/replay.rs"
    sys = "../../../relay/media_reflector/forwarding/native/sys.rs"
    table = "../../../relay/media_reflector/forwarding/native/table.rs"
    upcalls = "../../../relay/media_reflector/forwarding/native/upcalls.rs"
    worker = "../../../relay/media_reflector/forwarding/native/worker.rs"
}

mod cells;
#[allow(dead_code)]
mod datagrams;
mod driver;
mod model;
#[allow(dead_code)]
mod sequence;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Over all inputs of this process: datagrams that went in, and cells that came out.
static DATAGRAMS: AtomicU64 = AtomicU64::new(0);
static CELLS: AtomicU64 = AtomicU64::new(0);

extern "C" {
    fn atexit(function: extern "C" fn()) -> i32;
}

extern "C" fn totals() {
    eprintln!("stat::datagrams_received: {}", DATAGRAMS.load(Relaxed));
    eprintln!("stat::cells_sealed: {}", CELLS.load(Relaxed));
}

#[no_mangle]
pub extern "C" fn LLVMFuzzerInitialize(_: *const i32, _: *const *const *const u8) -> i32 {
    // SAFETY: a function that takes nothing and touches two numbers.
    unsafe { atexit(totals) };
    0
}

/// # Safety
/// libFuzzer's promise: `data` leads to `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, size: usize) -> i32 {
    let data = if size == 0 { &[] } else { std::slice::from_raw_parts(data, size) };
    #[cfg(datagrams)]
    let (datagrams, cells) = datagrams::play(data);
    #[cfg(not(datagrams))]
    let (datagrams, cells) = sequence::play(data);
    DATAGRAMS.fetch_add(datagrams, Relaxed);
    CELLS.fetch_add(cells, Relaxed);
    0
}

/// What a fault behind authentication would look like: a length out of a control body, believed.
#[cfg(planted)]
pub fn planted(payload: &[u8]) {
    let table = vec![0u8; payload.len()];
    // SAFETY: none; that is the point.
    let read = unsafe { table.as_ptr().add(usize::from(payload[1])).read_volatile() };
    std::hint::black_box(read);
}

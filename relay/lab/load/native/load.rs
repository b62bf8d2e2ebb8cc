//! Many lines as their agents hold them, from one thread: a real cell for each in every tick, and an eye on all that
//! comes back.  Built and loaded like the reflector's data plane, whose cryptography it shares.

#![deny(unsafe_op_in_unsafe_fn)]

#[path = "../../../media_reflector/forwarding/native/crypto.rs"]
#[allow(dead_code)]
mod crypto;
#[path = "../../../media_reflector/forwarding/native/sys.rs"]
#[allow(dead_code)]
mod sys;

mod agent;
mod tally;
mod wheel;
mod wire;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use agent::{Agent, LineSpec, CELL, PREFIX};
use crypto::Aead;
use tally::{add, Tally};
use wheel::{Due, Wheel, TICK};
use wire::{Inbox, Outbox, BATCH};

/// A cell that would leave later than this is not sent: agents that stood still do not catch up either.
const TOO_LATE: i64 = TICK / 2;
/// A cell that leaves later than this says nothing about arrivals and departures: the whole machine may have stood still.
const LATE: i64 = 1_000_000;
/// Nanoseconds between two looks at what came: its stamps are the kernel's, so looking late costs nothing.
const LOOK_EVERY: i64 = 400_000;
/// Batches that are received before the clock is looked at again.
const DRAIN: usize = 4;
/// Without this many nanoseconds between two cells no tick is missing.
const GAP: i64 = TICK * 3 / 2;

/// SSRCs are spread well enough by one multiplication.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }
    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

pub struct Load {
    fd: i32,
    agents: Vec<Agent>,
    by_ssrc: HashMap<u32, u32, BuildHasherDefault<Spread>>,
    jitter: i64,
    grain: i64,
    seed: u64,
    aead: Aead,
    /// For bare cells, and for those behind a prefix.
    outboxes: [Outbox; 2],
    inbox: Inbox,
    tally: Box<Tally>,
}

impl Load {
    fn new(fd: i32, specs: &[LineSpec], jitter: i64, grain: i64, seed: u64) -> Option<Load> {
        let by_ssrc = specs.iter().enumerate().map(|(at, spec)| (spec.down_ssrc, at as u32)).collect();
        Some(Load {
            fd,
            agents: specs.iter().map(Agent::new).collect(),
            by_ssrc,
            jitter,
            grain,
            seed,
            aead: Aead::new().ok()?,
            outboxes: [Outbox::new(CELL), Outbox::new(CELL + PREFIX)],
            inbox: Inbox::new(),
            tally: Tally::new(),
        })
    }

    /// Forget all counts; the lines go on.
    fn reset(&mut self) {
        *self.tally = *Tally::new();
        for agent in &mut self.agents {
            agent.last_stamp = None;
            agent.last_body = None;
        }
    }

    /// Send from `start` to `until`, and receive until `settled` (nanoseconds of CLOCK_MONOTONIC) or `stop`.
    fn run(&mut self, start: i64, until: i64, settled: i64, stop: &AtomicBool) {
        sys::wake_exactly();
        // Whoever measures how late others are must not be late.
        sys::run_promptly();
        let mut wheel = Wheel::new(&self.agents, start, self.jitter, self.grain, self.seed);
        let mut due = Vec::new();
        let mut look = start;
        while !stop.load(Relaxed) {
            let now = wire::monotonic();
            if now >= settled {
                return;
            }
            let mut sending = now < until;
            while sending && wheel.next() <= wire::monotonic() {
                let moment = wheel.next();
                due.clear();
                wheel.take(&mut due);
                self.send(&due, moment);
                sending = wheel.next() < until;
            }
            if now >= look {
                if self.receive() {
                    continue;
                }
                look = now + LOOK_EVERY;
            }
            let until = if sending { wheel.next() } else { look.min(settled) };
            sys::sleep_until(until as u64);
        }
    }

    fn send(&mut self, due: &[Due], moment: i64) {
        for batch in due.chunks(BATCH) {
            let now = wire::monotonic();
            if now - moment > TOO_LATE {
                add(&self.tally.skipped, batch.len() as u64);
                continue;
            }
            self.tally.latest.fetch_max((now - moment).max(0) as u64, Relaxed);
            let late = now - moment > LATE;
            for Due { line, moment } in batch {
                let beside = if late { f32::NAN } else { (now - moment) as f32 / 1000.0 };
                let agent = &mut self.agents[*line as usize];
                let place = self.outboxes[usize::from(agent.spec.prefixed != 0)].place(&agent.route);
                agent.write(*line, beside, &mut self.aead, place);
            }
            for outbox in &mut self.outboxes {
                let count = outbox.len();
                let taken = outbox.send(self.fd);
                add(&self.tally.sent, taken as u64);
                add(&self.tally.send_failed, (count - taken) as u64);
            }
        }
    }

    /// Take what waits; true when there may be more.
    fn receive(&mut self) -> bool {
        let offset = wire::monotonic_offset();
        for _ in 0..DRAIN {
            let count = self.inbox.receive(self.fd);
            for at in 0..count {
                self.take(at, offset);
            }
            if count < BATCH {
                return false;
            }
        }
        true
    }

    fn take(&mut self, at: usize, offset: i64) {
        let stamp = self.inbox.stamp(at);
        // TURN channels are 0x4000 to 0x4FFF (RFC 8656 section 12); RTP begins with 0x80.
        let cell = match self.inbox.datagram(at) {
            [0x40..=0x4F, _, _, _, cell @ ..] if cell.len() == CELL => cell,
            cell if cell.len() == CELL => cell,
            _ => return add(&self.tally.foreign, 1),
        };
        let ssrc = u32::from_be_bytes([cell[8], cell[9], cell[10], cell[11]]);
        let Some(&line) = self.by_ssrc.get(&ssrc) else { return add(&self.tally.foreign, 1) };
        let agent = &mut self.agents[line as usize];
        let Some(missing) = agent.follow(u16::from_be_bytes([cell[2], cell[3]])) else {
            return add(&self.tally.reordered, 1);
        };
        add(&self.tally.received, 1);
        let Some(stamp) = stamp else { return add(&self.tally.not_stamped, 1) };
        let when = stamp + offset;
        if let Some(last) = agent.last_stamp.replace(when) {
            add(&self.tally.lost, missing);
            if missing == 0 && when - last > GAP {
                add(&self.tally.missed, ((when - last + TICK / 2) / TICK - 1) as u64);
            }
        }
        let beside = (when - i64::from(agent.spec.departure) * 1000 + TICK / 2).rem_euclid(TICK) - TICK / 2;
        let deviation = beside as f64 / 1000.0;
        self.tally.deviation(deviation);
        if agent.last_left.is_finite() {
            self.tally.own.add(f64::from(agent.last_left), deviation);
        }
        if agent.spec.opened == 0 {
            return;
        }
        add(&self.tally.opened, 1);
        match agent.read(cell, &mut self.aead) {
            Err(()) => add(&self.tally.not_authentic, 1),
            Ok(None) => {}
            Ok(Some((sender, _))) if sender != agent.spec.partner => add(&self.tally.foreign, 1),
            Ok(Some((sender, counter))) => {
                add(&self.tally.bodies, 1);
                if let Some(last) = agent.last_body.replace(counter) {
                    add(&self.tally.bodies_lost, u64::from(counter.wrapping_sub(last).saturating_sub(1)));
                }
                if let Some(left) = self.agents.get(sender as usize).and_then(|other| other.left(counter)) {
                    self.tally.crossed.add(left, deviation);
                }
            }
        }
    }
}

/// A load of `count` lines on the socket `fd`, which stays the caller's; null when that cannot be.  `jitter` and `grain`
/// are nanoseconds: how far beside its moment a cell may leave, and how much time leaves together.
///
/// # Safety
/// `specs` points to `count` lines.
#[no_mangle]
pub unsafe extern "C" fn load_new(
    fd: i32,
    specs: *const LineSpec,
    count: usize,
    jitter: i64,
    grain: i64,
    seed: u64,
) -> *mut Load {
    // SAFETY: as the caller promises.
    let specs = unsafe { std::slice::from_raw_parts(specs, count) };
    Load::new(fd, specs, jitter, grain, seed).map_or(std::ptr::null_mut(), |load| Box::into_raw(Box::new(load)))
}

/// Bytes of a line and of the counts as this library lays them out, for the caller to compare with its own.
///
/// # Safety
/// Both point to places for a size.
#[no_mangle]
pub unsafe extern "C" fn load_sizes(line: *mut usize, tally: *mut usize) {
    // SAFETY: as the caller promises.
    unsafe {
        *line = std::mem::size_of::<LineSpec>();
        *tally = std::mem::size_of::<Tally>();
    }
}

/// Where the counts are; they may be read while `load_run` works.
///
/// # Safety
/// `load` came from `load_new` and was not freed.
#[no_mangle]
pub unsafe extern "C" fn load_tally(load: *const Load) -> *const Tally {
    // SAFETY: as the caller promises.
    unsafe { &*(*load).tally }
}

/// Forget all counts.
///
/// # Safety
/// As `load_tally`; never while `load_run` works.
#[no_mangle]
pub unsafe extern "C" fn load_reset(load: *mut Load) {
    // SAFETY: as the caller promises.
    unsafe { (*load).reset() }
}

/// Send and receive (see `Load::run`).
///
/// # Safety
/// As `load_reset`; `stop` outlives the call.
#[no_mangle]
pub unsafe extern "C" fn load_run(load: *mut Load, start: i64, until: i64, settled: i64, stop: *const AtomicBool) {
    // SAFETY: as the caller promises.
    let (load, stop) = unsafe { (&mut *load, &*stop) };
    load.run(start, until, settled, stop);
}

/// # Safety
/// As `load_reset`; `load` is gone afterwards.
#[no_mangle]
pub unsafe extern "C" fn load_free(load: *mut Load) {
    // SAFETY: as the caller promises.
    drop(unsafe { Box::from_raw(load) });
}

//! What the generator counts.  Python reads it while the load runs, so what it reads then is atomic.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bins of one microsecond from `-HALF_BINS` to `HALF_BINS`; what lies outside is in the outermost two.
pub const HALF_BINS: i64 = 10_000;
pub const BINS: usize = 2 * HALF_BINS as usize + 1;

/// Sums for one correlation coefficient, of microseconds.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Pairs {
    pub count: f64,
    pub sum_x: f64,
    pub sum_y: f64,
    pub sum_xx: f64,
    pub sum_yy: f64,
    pub sum_xy: f64,
}

impl Pairs {
    pub fn add(&mut self, x: f64, y: f64) {
        self.count += 1.0;
        self.sum_x += x;
        self.sum_y += y;
        self.sum_xx += x * x;
        self.sum_yy += y * y;
        self.sum_xy += x * y;
    }
}

#[repr(C)]
pub struct Tally {
    pub sent: AtomicU64,
    pub received: AtomicU64,
    /// Cells that the generator itself came too late to send.
    pub skipped: AtomicU64,
    pub send_failed: AtomicU64,
    /// Datagrams that are no cell of any line.
    pub foreign: AtomicU64,
    pub not_authentic: AtomicU64,
    /// Holes in the sequence numbers of what came.
    pub lost: AtomicU64,
    pub reordered: AtomicU64,
    /// Ticks in which a line that lost nothing got nothing.
    pub missed: AtomicU64,
    /// Cells of the opened lines, and what their bodies' counters say.
    pub opened: AtomicU64,
    pub bodies: AtomicU64,
    pub bodies_lost: AtomicU64,
    pub not_stamped: AtomicU64,
    /// Longest time, in nanoseconds, that a batch left after its own moment.
    pub latest: AtomicU64,
    /// Arrival jitter of a body against the departure that carried it, and of a line's own last cell against its next
    /// departure.
    pub crossed: Pairs,
    pub own: Pairs,
    pub deviations: [u64; BINS],
}

impl Tally {
    pub fn new() -> Box<Tally> {
        Box::new(Tally {
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            send_failed: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
            not_authentic: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            reordered: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            bodies: AtomicU64::new(0),
            bodies_lost: AtomicU64::new(0),
            not_stamped: AtomicU64::new(0),
            latest: AtomicU64::new(0),
            crossed: Pairs::default(),
            own: Pairs::default(),
            deviations: [0; BINS],
        })
    }

    pub fn deviation(&mut self, microseconds: f64) {
        let bin = (microseconds.round() as i64).clamp(-HALF_BINS, HALF_BINS) + HALF_BINS;
        self.deviations[bin as usize] += 1;
    }
}

/// Add without the price of a locked instruction: one thread writes.
pub fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed) + amount, Relaxed);
}

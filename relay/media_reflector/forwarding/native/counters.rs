//! What is counted, in the order of `COUNTERS` in face.py.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Clone, Copy)]
pub enum Count {
    WrongSize,
    NotACell,
    UnknownSsrc,
    UpcallsFull,
    StrangerLimited,
    LineLimited,
    NotAuthentic,
    Replayed,
    UnknownType,
    NotCrossed,
    QueueFull,
    QueueTrimmed,
    ControlFull,
    SinglesFull,
    DatagramsReceived,
    CellsReceived,
    CellsSent,
    SinglesSent,
    BodiesSent,
    ChaffSent,
    ControlSent,
    DeparturesMissed,
    SendFailed,
    ReceiveFailed,
    LinesExpired,
    StrangersReceived,
}

pub const COUNTS: usize = Count::StrangersReceived as usize + 1;

/// The counters of a data plane, for anyone to read.
#[derive(Default)]
pub struct Counters([AtomicU64; COUNTS]);

impl Counters {
    pub fn add(&self, count: Count, by: u64) {
        self.0[count as usize].fetch_add(by, Relaxed);
    }

    pub fn read(&self) -> [u64; COUNTS] {
        std::array::from_fn(|i| self.0[i].load(Relaxed))
    }
}

/// What one thread has counted since it last said so: shared counters would travel between cores for every cell.
#[derive(Default)]
pub struct Tally([u64; COUNTS]);

impl Tally {
    #[inline]
    pub fn count(&mut self, count: Count) {
        self.0[count as usize] += 1;
    }

    pub fn add(&mut self, count: Count, by: u64) {
        self.0[count as usize] += by;
    }

    pub fn flush(&mut self, counters: &Counters) {
        for (shared, own) in counters.0.iter().zip(&mut self.0) {
            if *own != 0 {
                shared.fetch_add(std::mem::take(own), Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_told_once() {
        let (counters, mut tally) = (Counters::default(), Tally::default());
        tally.count(Count::Replayed);
        tally.add(Count::Replayed, 2);
        tally.flush(&counters);
        tally.flush(&counters);
        assert_eq!(counters.read()[Count::Replayed as usize], 3);
        assert_eq!(counters.read().iter().sum::<u64>(), 3);
    }
}

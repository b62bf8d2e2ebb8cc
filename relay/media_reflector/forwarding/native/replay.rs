//! Packet index and replay window of SRTP (RFC 3711 sections 3.3.1 and 3.3.2).

/// How far behind the highest index a packet may come.
const WINDOW_SIZE: i64 = 128;
const HALF: i64 = 1 << 15;

/// Which of the last `WINDOW_SIZE` indices were accepted.
#[derive(Clone)]
pub struct Window {
    highest: i64,
    // Bit n: the index n below the highest.  Two halves, because a u128 would be aligned to 16.
    seen: [u64; 2],
}

impl Window {
    pub const fn new() -> Self {
        Window { highest: -1, seen: [0; 2] }
    }

    /// The packet index nearest to the highest one so far; below zero: before the start.
    #[inline]
    pub fn estimate(&self, sequence_number: u16) -> i64 {
        let sequence_number = i64::from(sequence_number);
        if self.highest < 0 {
            return sequence_number;
        }
        let (rollover_counter, last) = (self.highest >> 16, self.highest & 0xffff);
        let rollover_counter = if last < HALF {
            if sequence_number - last > HALF {
                rollover_counter - 1
            } else {
                rollover_counter
            }
        } else if last - HALF > sequence_number {
            rollover_counter + 1
        } else {
            rollover_counter
        };
        (rollover_counter << 16) + sequence_number
    }

    fn seen(&self) -> u128 {
        u128::from(self.seen[1]) << 64 | u128::from(self.seen[0])
    }

    /// Whether `index` could still be accepted.
    #[inline]
    pub fn fresh(&self, index: i64) -> bool {
        let behind = self.highest - index;
        index >= 0 && (behind < 0 || (behind < WINDOW_SIZE && self.seen() >> behind & 1 == 0))
    }

    /// Take a fresh `index`, once its packet proved authentic: else an attacker could move the window.
    #[inline]
    pub fn accept(&mut self, index: i64) {
        let behind = self.highest - index;
        let seen = if behind >= 0 {
            self.seen() | 1 << behind
        } else {
            self.highest = index;
            let moved = u32::try_from(-behind).unwrap_or(u32::MAX);
            self.seen().checked_shl(moved).unwrap_or(0) | 1
        };
        self.seen = [seen as u64, (seen >> 64) as u64];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_passes_once() {
        let mut window = Window::new();
        for index in [5, 4, 6, 200, 199, 73] {
            assert!(window.fresh(index));
            window.accept(index);
            assert!(!window.fresh(index));
        }
        assert!(!window.fresh(72));
        assert!(window.fresh(74));
        window.accept(200 + 128);
        assert!(!window.fresh(200));
        assert!(window.fresh(201));
        window.accept(1 << 40);
        assert!(window.fresh((1 << 40) - 1));
        assert!(!window.fresh(-1));
    }

    #[test]
    fn the_rollover_counter_follows() {
        let mut window = Window::new();
        assert_eq!(window.estimate(40_000), 40_000);
        window.accept(10);
        assert_eq!(window.estimate(65_000), 65_000 - 65_536);
        window.accept(65_530);
        assert_eq!(window.estimate(3), 65_536 + 3);
        window.accept(65_539);
        assert_eq!(window.estimate(65_535), 65_535);
        assert_eq!(window.estimate(32_768 + 3), 65_536 + 32_768 + 3);
        assert_eq!(window.estimate(32_768 + 4), 32_768 + 4);
    }
}

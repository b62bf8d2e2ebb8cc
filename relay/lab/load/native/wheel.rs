//! Which line's cell leaves when: every line once in a tick, at its own moment, beside it by a random jitter.

use crate::agent::Agent;

pub const TICK: i64 = 20_000_000;
/// Nanoseconds that the wheel reaches ahead: more than a tick and the largest jitter.
const REACH: i64 = 3 * TICK;

/// Cheap chance for jitter; nothing here is a secret.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Uniform from `-bound` to `bound`.
    pub fn around(&mut self, bound: i64) -> i64 {
        let span = 2 * bound as u128 + 1;
        ((u128::from(self.next()) * span) >> 64) as i64 - bound
    }
}

/// A cell that is due: whose, and its moment without jitter.
#[derive(Clone, Copy)]
pub struct Due {
    pub line: u32,
    pub moment: i64,
}

pub struct Wheel {
    buckets: Vec<Vec<Due>>,
    /// Nanoseconds that leave together.
    grain: i64,
    at: i64,
    jitter: i64,
    chance: Chance,
}

impl Wheel {
    /// Every line's first cell lies between `start` and a tick later.
    pub fn new(agents: &[Agent], start: i64, jitter: i64, grain: i64, seed: u64) -> Wheel {
        let grain = grain.clamp(1_000, TICK / 8);
        let mut wheel = Wheel {
            buckets: vec![Vec::new(); (REACH / grain) as usize],
            grain,
            at: start / grain,
            jitter: jitter.clamp(0, TICK / 2 - grain),
            chance: Chance::new(seed),
        };
        let first = start + wheel.jitter;
        for (line, agent) in agents.iter().enumerate() {
            let arrival = i64::from(agent.spec.arrival) * 1000;
            let ticks = (first - arrival).div_euclid(TICK) + 1;
            wheel.put(Due { line: line as u32, moment: ticks * TICK + arrival });
        }
        wheel
    }

    fn put(&mut self, due: Due) {
        let when = due.moment + self.chance.around(self.jitter);
        // Never into a bucket that has gone: after a long standstill the line would wait for a whole turn.
        let bucket = (when / self.grain).max(self.at + 1);
        let place = bucket as usize % self.buckets.len();
        self.buckets[place].push(due);
    }

    /// When the next cells are due.
    pub fn next(&self) -> i64 {
        self.at * self.grain
    }

    /// Take the cells of the present bucket; each line's next cell is put where it belongs.
    pub fn take(&mut self, into: &mut Vec<Due>) {
        let place = self.at as usize % self.buckets.len();
        std::mem::swap(into, &mut self.buckets[place]);
        for at in 0..into.len() {
            let Due { line, moment } = into[at];
            self.put(Due { line, moment: moment + TICK });
        }
        self.at += 1;
    }
}

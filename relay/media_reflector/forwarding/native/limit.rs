//! How often anybody is heard by Python: so that nobody who says the same again and again drowns who speaks up once.
//!
//! Every worker says the tick in which its batch began, and batches of two workers overlap: what comes under a tick
//! that is over counts in the latest one.  Ticks only go forward here; else each change of worker would begin one anew.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// Ticks of one period; what was said in the one before still counts.
const PERIOD_TICKS: i64 = 64;
/// How often in two periods somebody may be heard before they are a repeater.
const EASE: u32 = 4;

/// Who was heard: in this tick, and how often lately.  Keys are an attacker's choice, so the hashes are seeded.
pub struct Limit<K> {
    per_tick: usize,
    tick: i64,
    heard: HashSet<K>,
    repeaters: usize,
    recent: HashMap<K, u32>,
    before: HashMap<K, u32>,
}

impl<K: Copy + Eq + Hash> Limit<K> {
    /// Half of `per_tick` for repeaters.
    pub fn new(per_tick: usize) -> Self {
        Limit {
            per_tick,
            tick: i64::MIN,
            heard: HashSet::with_capacity(per_tick),
            repeaters: 0,
            recent: HashMap::new(),
            before: HashMap::new(),
        }
    }

    /// Whether `key` may be heard in this tick.
    pub fn allows(&mut self, key: K, tick: i64) -> bool {
        self.turn(tick);
        self.heard.len() < self.per_tick
            && !self.heard.contains(&key)
            && (self.repeaters < self.per_tick / 2 || !self.repeats(key))
    }

    /// `key`, which `allows` let through just now, was heard.
    pub fn heard(&mut self, key: K) {
        self.repeaters += usize::from(self.repeats(key));
        self.heard.insert(key);
        *self.recent.entry(key).or_insert(0) += 1;
    }

    fn repeats(&self, key: K) -> bool {
        let times = |period: &HashMap<K, u32>| period.get(&key).copied().unwrap_or(0);
        times(&self.recent) + times(&self.before) >= EASE
    }

    fn turn(&mut self, tick: i64) {
        if tick <= self.tick {
            return;
        }
        let (last, now) = (self.tick.div_euclid(PERIOD_TICKS), tick.div_euclid(PERIOD_TICKS));
        if now != last {
            self.before = std::mem::take(&mut self.recent);
            if now != last + 1 {
                self.before.clear();
            }
        }
        self.tick = tick;
        self.heard.clear();
        self.repeaters = 0;
    }
}

/// How many lines of one address were heard in this tick: a trunk's slots, thousands of them, all have that of the far
/// end.
pub struct Crowd<A> {
    most: u32,
    tick: i64,
    heard: HashMap<A, u32>,
}

impl<A: Copy + Eq + Hash> Crowd<A> {
    pub fn new(most: u32) -> Self {
        Crowd { most, tick: i64::MIN, heard: HashMap::new() }
    }

    pub fn allows(&mut self, address: A, tick: i64) -> bool {
        if tick > self.tick {
            self.tick = tick;
            self.heard.clear();
        }
        self.heard.get(&address).map_or(true, |heard| *heard < self.most)
    }

    /// A line of `address`, which `allows` let through just now, was heard.
    pub fn heard(&mut self, address: A) {
        *self.heard.entry(address).or_insert(0) += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(limit: &mut Limit<u32>, keys: impl IntoIterator<Item = u32>, tick: i64) -> usize {
        keys.into_iter().filter(|key| limit.allows(*key, tick).then(|| limit.heard(*key)).is_some()).count()
    }

    #[test]
    fn once_in_a_tick_and_few_in_all() {
        let mut limit = Limit::new(80);
        assert_eq!(hear(&mut limit, [1, 1, 2], 0), 2);
        assert_eq!(hear(&mut limit, 0..200, 0), 78);
        assert_eq!(hear(&mut limit, [1], 1), 1);
    }

    #[test]
    fn who_repeats_leaves_room_for_who_does_not() {
        let mut limit = Limit::new(80);
        for tick in 0..i64::from(EASE) {
            assert_eq!(hear(&mut limit, 0..200, tick), 80);
        }
        assert_eq!(hear(&mut limit, 0..80, 5), 40);
        assert_eq!(hear(&mut limit, 1000..1200, 5), 40);
    }

    #[test]
    fn who_was_quiet_is_new_again() {
        for (ticks, heard) in [(PERIOD_TICKS, 40), (2 * PERIOD_TICKS, 80), (1 << 40, 80)] {
            let mut limit = Limit::new(80);
            (0..10).for_each(|tick| assert!(hear(&mut limit, 0..80, tick) > 0));
            assert_eq!(hear(&mut limit, 0..80, ticks), heard);
        }
    }

    #[test]
    fn a_tick_that_is_over_does_not_come_again() {
        let mut limit = Limit::new(80);
        let heard: usize = (0..400).map(|key| hear(&mut limit, [key], PERIOD_TICKS - 1 + i64::from(key & 1))).sum();
        assert_eq!(heard, 81, "the first of them came before the edge");
        assert_eq!(hear(&mut limit, [1000], PERIOD_TICKS + 1), 1);
    }

    #[test]
    fn who_repeats_at_a_periods_edge_is_not_forgotten() {
        let mut limit = Limit::new(80);
        for tick in 0..i64::from(EASE) {
            assert_eq!(hear(&mut limit, 0..80, tick), 80);
        }
        for tick in [PERIOD_TICKS, PERIOD_TICKS - 1, PERIOD_TICKS] {
            hear(&mut limit, [1000], tick);
        }
        assert_eq!(hear(&mut limit, 0..80, PERIOD_TICKS + 1), 40);
    }

    #[test]
    fn few_of_a_crowd() {
        let mut crowd = Crowd::new(2);
        for tick in 0..3 {
            let mut allowed = |address| crowd.allows(address, tick).then(|| crowd.heard(address)).is_some();
            assert_eq!([1, 1, 1, 2, 1].map(&mut allowed), [true, true, false, true, false]);
        }
        for tick in [3, 2, 3, 2] {
            crowd.allows(1, tick).then(|| crowd.heard(1));
        }
        assert!(!crowd.allows(1, 2) && !crowd.allows(1, 3) && crowd.allows(1, 4));
    }

    #[test]
    fn memory_is_bounded() {
        let mut limit = Limit::new(80);
        for tick in 0..1000 {
            hear(&mut limit, (0..500).map(|i| tick as u32 * 500 + i), tick);
        }
        assert!(limit.recent.len().max(limit.before.len()) <= 80 * PERIOD_TICKS as usize);
    }
}

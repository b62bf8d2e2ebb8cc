//! Where lines are found: places that never move, and an index of SSRCs that is read without a lock.
//!
//! Whoever writes to the index holds the registry; a worker never waits for that.  What a worker finds is a hint: it asks
//! the line itself, under the line's lock, whether the SSRC is (still) one of its own.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::line::Line;

const CHUNK: usize = 256;
/// Lines that one data plane holds at most: many times what a machine could serve.
pub const MAX_LINES: usize = 1 << 20;
pub const NOWHERE: u32 = u32::MAX;

/// A line behind its lock.
#[repr(C, align(64))]
pub struct Place {
    /// Where the line is that it is crossed with, to be fetched before the lock is taken.  In the first bytes, because a
    /// cache line more for each cell would cost what it gains.
    pub peer: AtomicU32,
    line: Mutex<Line>,
}

impl Place {
    fn new() -> Self {
        Place { peer: AtomicU32::new(NOWHERE), line: Mutex::new(Line::vacant()) }
    }

    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, Line> {
        // A panic ends the process (see build.py), so nobody ever left a lock poisoned.
        self.line.lock().expect("not poisoned")
    }
}

/// Every place there is; made as they are needed, never given back, so that they can be read without a lock.
pub struct Places(Box<[OnceLock<Box<[Place]>>]>);

impl Places {
    pub fn new() -> Self {
        Places((0..MAX_LINES / CHUNK).map(|_| OnceLock::new()).collect())
    }

    #[inline]
    pub fn get(&self, index: u32) -> Option<&Place> {
        let index = index as usize;
        self.0.get(index / CHUNK)?.get()?.get(index % CHUNK)
    }

    /// The place at `index`, made if need be; None beyond `MAX_LINES`.
    pub fn make(&self, index: u32) -> Option<&Place> {
        let index = index as usize;
        let chunk = self.0.get(index / CHUNK)?;
        chunk.get_or_init(|| (0..CHUNK).map(|_| Place::new()).collect()).get(index % CHUNK)
    }
}

const FREE: u64 = 0;
const GONE: u64 = u64::MAX;
const SMALLEST: usize = 256;

/// Open addressing over words of SSRC and index plus one.  SipHash, because SSRCs are the attacker's choice.
pub struct Index {
    words: Box<[AtomicU64]>,
    hash: RandomState,
}

impl Index {
    fn new(size: usize) -> Self {
        Index { words: (0..size).map(|_| AtomicU64::new(FREE)).collect(), hash: RandomState::new() }
    }

    fn probes(&self, ssrc: u32) -> impl Iterator<Item = &AtomicU64> {
        let mut hasher = self.hash.build_hasher();
        hasher.write_u32(ssrc);
        let (start, mask) = (hasher.finish() as usize, self.words.len() - 1);
        (0..=mask).map(move |step| &self.words[start.wrapping_add(step) & mask])
    }

    /// The word of an SSRC and what it holds.
    fn entry(&self, ssrc: u32) -> Option<(&AtomicU64, u64)> {
        self.probes(ssrc)
            .map(|word| (word, word.load(Acquire)))
            .take_while(|(_, value)| *value != FREE)
            .find(|(_, value)| *value != GONE && (*value >> 32) as u32 == ssrc)
    }

    /// Where the line is that has, or a moment ago had, this SSRC.
    #[inline]
    pub fn find(&self, ssrc: u32) -> Option<u32> {
        self.entry(ssrc).map(|(_, value)| value as u32 - 1)
    }

    /// True when a word was used that was never used before.
    fn insert(&self, ssrc: u32, index: u32) -> bool {
        let place = self.probes(ssrc).find(|word| matches!(word.load(Relaxed), FREE | GONE));
        let place = place.expect("half of the words are free");
        place.swap(u64::from(ssrc) << 32 | u64::from(index + 1), Release) == FREE
    }
}

/// The index that counts now; a larger or cleaner one takes its place now and then.
pub struct Ssrcs {
    current: Mutex<(Arc<Index>, Fill)>,
    version: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Fill {
    live: usize,
    used: usize,
}

impl Ssrcs {
    pub fn new() -> Self {
        let fill = Fill { live: 0, used: 0 };
        Ssrcs { current: Mutex::new((Arc::new(Index::new(SMALLEST)), fill)), version: AtomicUsize::new(1) }
    }

    pub fn find(&self, ssrc: u32) -> Option<u32> {
        self.lock().0.find(ssrc)
    }

    /// Enter an SSRC that is not there.
    pub fn insert(&self, ssrc: u32, index: u32) {
        let mut current = self.lock();
        let (words, fill) = &mut *current;
        if (fill.used + 1) * 2 > words.words.len() {
            self.renew(words, fill);
        }
        fill.used += usize::from(words.insert(ssrc, index));
        fill.live += 1;
    }

    pub fn remove(&self, ssrc: u32) {
        let mut current = self.lock();
        let (words, fill) = &mut *current;
        if let Some((word, _)) = words.entry(ssrc) {
            word.store(GONE, Release);
            fill.live -= 1;
        }
    }

    fn renew(&self, words: &mut Arc<Index>, fill: &mut Fill) {
        let index = Index::new(((fill.live + 1) * 3).next_power_of_two().max(SMALLEST));
        for value in words.words.iter().map(|word| word.load(Relaxed)).filter(|value| !matches!(*value, FREE | GONE)) {
            index.insert((value >> 32) as u32, value as u32 - 1);
        }
        fill.used = fill.live;
        *words = Arc::new(index);
        self.version.fetch_add(1, Release);
    }

    fn lock(&self) -> MutexGuard<'_, (Arc<Index>, Fill)> {
        self.current.lock().expect("not poisoned")
    }
}

/// One thread's own hold on the index: asking is free while no other took its place.
pub struct Reader {
    index: Arc<Index>,
    version: usize,
}

impl Reader {
    pub fn new(ssrcs: &Ssrcs) -> Self {
        Reader { version: ssrcs.version.load(Acquire), index: ssrcs.lock().0.clone() }
    }

    #[inline]
    pub fn index(&mut self, ssrcs: &Ssrcs) -> &Index {
        if ssrcs.version.load(Acquire) != self.version {
            *self = Reader::new(ssrcs);
        }
        &self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssrcs_come_and_go() {
        let ssrcs = Ssrcs::new();
        let mut reader = Reader::new(&ssrcs);
        for round in 0..20u32 {
            for i in 0..1000 {
                ssrcs.insert(round * 1000 + i, i);
            }
            for i in 0..1000 {
                assert_eq!(reader.index(&ssrcs).find(round * 1000 + i), Some(i));
                if i % 10 != 0 {
                    ssrcs.remove(round * 1000 + i);
                    assert_eq!(reader.index(&ssrcs).find(round * 1000 + i), None);
                }
            }
        }
        assert_eq!(ssrcs.find(0), Some(0));
        assert_eq!(ssrcs.lock().1.live, 2000);
        assert!(ssrcs.lock().0.words.len() <= 16_384);
    }

    #[test]
    fn every_ssrc_may_be_one() {
        let ssrcs = Ssrcs::new();
        for (ssrc, index) in [(0, 0), (u32::MAX, MAX_LINES as u32 - 1), (1, 7)] {
            assert_eq!(ssrcs.find(ssrc), None);
            ssrcs.insert(ssrc, index);
            assert_eq!(ssrcs.find(ssrc), Some(index));
        }
    }

    #[test]
    fn places_stay_where_they_are() {
        let places = Places::new();
        assert!(places.get(300).is_none());
        let before: *const Place = places.make(300).unwrap();
        places.make(0).unwrap();
        assert!(std::ptr::eq(before, places.get(300).unwrap()));
        assert!(places.make(MAX_LINES as u32).is_none());
        assert!(std::mem::size_of::<Place>() <= 832);
    }
}

//! Which first messages are handed up: those whose ticket number is a permitted one, or ends in a good check and was not
//! forbidden since.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::{Mutex, MutexGuard};

use crate::crypto::{Block, Key};
use crate::upcalls::TicketId;

pub const MAX_CHECK_KEYS: usize = 16;
const CHECKED_SIZE: usize = 8;
/// Forbidden numbers remembered for one check key.
const MAX_FORBIDDEN: usize = 1 << 16;

/// Why a number is handed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin {
    Permitted,
    Own,
    Left,
}

/// A check key, and the numbers that check under it and were forbidden, oldest first.
struct Held {
    key: Key,
    origin: Origin,
    block: Block,
    forbidden: HashSet<TicketId>,
    order: VecDeque<TicketId>,
}

impl Held {
    /// None where libcrypto does not take a key (never seen): then it admits nobody.
    fn new(key: Key, origin: Origin) -> Option<Self> {
        let block = Block::new(&key).ok()?;
        Some(Held { key, origin, block, forbidden: HashSet::new(), order: VecDeque::new() })
    }

    fn forbid(&mut self, id: TicketId) {
        if !self.forbidden.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_FORBIDDEN {
            self.order.pop_front().map(|oldest| self.forbidden.remove(&oldest));
        }
    }

    fn permit(&mut self, id: &TicketId) {
        if self.forbidden.remove(id) {
            self.order.retain(|other| other != id);
        }
    }
}

#[derive(Default)]
pub struct Gate {
    permitted: Mutex<HashSet<TicketId>>,
    keys: Mutex<Vec<Held>>,
    version: AtomicUsize,
}

impl Gate {
    pub fn permit(&self, id: TicketId) {
        self.permitted.lock().expect("not poisoned").insert(id);
        self.keys().iter_mut().for_each(|held| held.permit(&id));
    }

    /// Hand this number up no more, for as long as a key is held under which it checks.
    pub fn forbid(&self, id: &TicketId) {
        self.permitted.lock().expect("not poisoned").remove(id);
        let claim = Claim::of(id);
        if let Some(held) = self.keys().iter_mut().find_map(|held| claim.holds(&mut held.block).then_some(held)) {
            held.forbid(*id);
        }
    }

    /// Take these in place of all earlier ones; what was forbidden under one that stays is still forbidden.
    pub fn set_check_keys(&self, own: &[Key], left: &[Key]) {
        let mut keys = self.keys();
        let mut before = std::mem::take(&mut *keys);
        let own = own.iter().map(|key| (key, Origin::Own));
        for (key, origin) in own.chain(left.iter().map(|key| (key, Origin::Left))) {
            match before.iter().position(|held| held.key == *key) {
                Some(at) => keys.push(Held { origin, ..before.swap_remove(at) }),
                // The first of two that are the same finds all that the second would.
                None if keys.iter().any(|held| held.key == *key) => {}
                None => keys.extend(Held::new(*key, origin)),
            }
        }
        self.version.fetch_add(1, Release);
    }

    fn is_permitted(&self, id: &TicketId) -> bool {
        self.permitted.lock().expect("not poisoned").contains(id)
    }

    fn is_forbidden(&self, key: &Key, id: &TicketId) -> bool {
        self.keys().iter().any(|held| held.key == *key && held.forbidden.contains(id))
    }

    fn keys(&self) -> MutexGuard<'_, Vec<Held>> {
        self.keys.lock().expect("not poisoned")
    }
}

/// One thread's contexts for the check keys: garbage is tried under each of them, so it has to be cheap.
#[derive(Default)]
pub struct Checker {
    blocks: Vec<Block>,
    keys: Vec<(Key, Origin)>,
    version: usize,
}

impl Checker {
    /// Why a first message with this number is to be handed up; None when it is not.
    pub fn origin(&mut self, gate: &Gate, id: &TicketId) -> Option<Origin> {
        if gate.is_permitted(id) {
            return Some(Origin::Permitted);
        }
        let version = gate.version.load(Acquire);
        if version != self.version {
            let copied = |held: &Held| Some(((held.key, held.origin), Block::new(&held.key).ok()?));
            (self.keys, self.blocks) = gate.keys().iter().filter_map(copied).unzip();
            self.version = version;
        }
        let claim = Claim::of(id);
        let (key, origin) = &self.keys[self.blocks.iter_mut().position(|block| claim.holds(block))?];
        (!gate.is_forbidden(key, id)).then_some(*origin)
    }
}

/// A number, laid out for checking it under many keys.
struct Claim {
    counter: [u8; 16],
    check: u64,
}

impl Claim {
    fn of(id: &TicketId) -> Self {
        // The tag of GCM over nothing is its first counter block, enciphered (NIST SP 800-38D: GHASH of nothing but a
        // length of zero is zero): nonce, then the number one.
        let mut counter = [0; 16];
        counter[..CHECKED_SIZE].copy_from_slice(&id[..CHECKED_SIZE]);
        counter[15] = 1;
        Claim { counter, check: u64::from_be_bytes(std::array::from_fn(|i| id[CHECKED_SIZE + i])) }
    }

    #[inline(always)]
    fn holds(&self, block: &mut Block) -> bool {
        let tag = block.encipher(&self.counter);
        tag.is_some_and(|tag| u64::from_be_bytes(std::array::from_fn(|i| tag[i])) == self.check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Aead;

    fn id(key: &Key, number: u32) -> TicketId {
        let (mut id, mut tag, mut nonce) = ([5; 16], [0; 16], [0; 12]);
        id[..4].copy_from_slice(&number.to_be_bytes());
        nonce[..8].copy_from_slice(&id[..8]);
        assert!(Aead::new().unwrap().seal(key, &nonce, &[], &[], &mut tag));
        id[8..].copy_from_slice(&tag[..8]);
        id
    }

    #[test]
    fn a_number_passes_while_its_key_is_there() {
        let (gate, mut checker) = (Gate::default(), Checker::default());
        let (one, other) = ([1; 16], [2; 16]);
        assert_eq!(checker.origin(&gate, &id(&one, 0)), None);
        gate.set_check_keys(&[other], &[one]);
        assert_eq!(checker.origin(&gate, &id(&one, 0)), Some(Origin::Left));
        assert_eq!(checker.origin(&gate, &id(&other, 0)), Some(Origin::Own));
        let mut damaged = id(&one, 0);
        damaged[0] ^= 1;
        assert_eq!(checker.origin(&gate, &damaged), None);
        gate.set_check_keys(&[other], &[]);
        assert_eq!(checker.origin(&gate, &id(&one, 0)), None);
        gate.permit(id(&one, 0));
        assert_eq!(checker.origin(&gate, &id(&one, 0)), Some(Origin::Permitted));
        gate.forbid(&id(&one, 0));
        assert_eq!(checker.origin(&gate, &id(&one, 0)), None);
    }

    #[test]
    fn a_forbidden_number_passes_no_more_until_it_is_permitted() {
        let (gate, mut checker) = (Gate::default(), Checker::default());
        let (one, other) = ([1; 16], [2; 16]);
        gate.set_check_keys(&[one], &[other]);
        gate.forbid(&id(&one, 0));
        assert_eq!(checker.origin(&gate, &id(&one, 0)), None);
        assert_eq!(checker.origin(&gate, &id(&one, 1)), Some(Origin::Own));
        gate.set_check_keys(&[[3; 16], one, one], &[]);
        assert_eq!(checker.origin(&gate, &id(&one, 0)), None);
        gate.permit(id(&one, 0));
        assert_eq!(checker.origin(&gate, &id(&one, 0)), Some(Origin::Permitted));
        gate.forbid(&id(&one, 0));
        assert_eq!(checker.origin(&gate, &id(&one, 0)), None);
        gate.set_check_keys(&[], &[]);
        gate.set_check_keys(&[one], &[]);
        assert_eq!(checker.origin(&gate, &id(&one, 0)), Some(Origin::Own), "nobody knows it any more");
    }

    #[test]
    fn so_many_forbidden_numbers_are_remembered() {
        let mut held = Held::new([1; 16], Origin::Own).unwrap();
        for number in 0..=MAX_FORBIDDEN as u128 {
            held.forbid(number.to_be_bytes());
            held.forbid(number.to_be_bytes());
        }
        assert!(!held.forbidden.contains(&[0; 16]));
        assert_eq!((held.forbidden.len(), held.order.len()), (MAX_FORBIDDEN, MAX_FORBIDDEN));
        held.permit(&1u128.to_be_bytes());
        assert_eq!((held.forbidden.len(), held.order.len()), (MAX_FORBIDDEN - 1, MAX_FORBIDDEN - 1));
    }
}

//! Which first messages are handed up: those whose ticket number is a permitted one, or ends in a good check.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::Mutex;

use crate::crypto::{Block, Key};
use crate::upcalls::TicketId;

pub const MAX_CHECK_KEYS: usize = 16;
const CHECKED_SIZE: usize = 8;

#[derive(Default)]
pub struct Gate {
    permitted: Mutex<HashSet<TicketId>>,
    keys: Mutex<Vec<Key>>,
    version: AtomicUsize,
}

impl Gate {
    pub fn permit(&self, id: TicketId) {
        self.permitted.lock().expect("not poisoned").insert(id);
    }

    pub fn forbid(&self, id: &TicketId) {
        self.permitted.lock().expect("not poisoned").remove(id);
    }

    pub fn set_check_keys(&self, keys: Vec<Key>) {
        *self.keys.lock().expect("not poisoned") = keys;
        self.version.fetch_add(1, Release);
    }

    fn is_permitted(&self, id: &TicketId) -> bool {
        self.permitted.lock().expect("not poisoned").contains(id)
    }
}

/// One thread's contexts for the check keys: garbage is tried under each of them, so it has to be cheap.
#[derive(Default)]
pub struct Checker {
    blocks: Vec<Block>,
    version: usize,
}

impl Checker {
    /// Whether a first message with this number is to be handed up.
    pub fn admits(&mut self, gate: &Gate, id: &TicketId) -> bool {
        gate.is_permitted(id) || self.checks(gate, id)
    }

    fn checks(&mut self, gate: &Gate, id: &TicketId) -> bool {
        let version = gate.version.load(Acquire);
        if version != self.version {
            let keys = gate.keys.lock().expect("not poisoned");
            // A key that libcrypto does not take (never seen) admits nobody.
            self.blocks = keys.iter().filter_map(|key| Block::new(key).ok()).collect();
            self.version = version;
        }
        // The tag of GCM over nothing is its first counter block, enciphered (NIST SP 800-38D: GHASH of nothing but a
        // length of zero is zero): nonce, then the number one.
        let mut counter = [0; 16];
        counter[..CHECKED_SIZE].copy_from_slice(&id[..CHECKED_SIZE]);
        counter[15] = 1;
        let check = u64::from_be_bytes(std::array::from_fn(|i| id[CHECKED_SIZE + i]));
        self.blocks.iter_mut().any(|block| {
            let tag = block.encipher(&counter);
            tag.is_some_and(|tag| u64::from_be_bytes(std::array::from_fn(|i| tag[i])) == check)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Aead;

    fn id(key: &Key) -> TicketId {
        let (mut id, mut tag) = ([5; 16], [0; 16]);
        let nonce = [5, 5, 5, 5, 5, 5, 5, 5, 0, 0, 0, 0];
        assert!(Aead::new().unwrap().seal(key, &nonce, &[], &[], &mut tag));
        id[8..].copy_from_slice(&tag[..8]);
        id
    }

    #[test]
    fn a_number_passes_while_its_key_is_there() {
        let (gate, mut checker) = (Gate::default(), Checker::default());
        let (one, other) = ([1; 16], [2; 16]);
        assert!(!checker.admits(&gate, &id(&one)));
        gate.set_check_keys(vec![other, one]);
        assert!(checker.admits(&gate, &id(&one)) && checker.admits(&gate, &id(&other)));
        let mut damaged = id(&one);
        damaged[0] ^= 1;
        assert!(!checker.admits(&gate, &damaged));
        gate.set_check_keys(vec![other]);
        assert!(!checker.admits(&gate, &id(&one)));
        gate.permit(id(&one));
        assert!(checker.admits(&gate, &id(&one)));
        gate.forbid(&id(&one));
        assert!(!checker.admits(&gate, &id(&one)));
    }
}

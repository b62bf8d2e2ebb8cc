"""Tickets that need no table: resumption tickets of our own, and backup tickets that another reflector makes.

A reflector makes resumption tickets under a key that it changes every hour, and takes them for as long again after
that.  Restarted with its keys restored, it still honours them.  A backup ticket is the same thing under a key that
another reflector picked and left here: it hands them to its lines, so that they can go on here should it die.
"""

from collections.abc import Iterable, Sequence

import msgspec

from relay.core import Entropy, MisuseError, PeerError
from relay.media_reflector.forwarding.face import MAX_CHECK_KEYS
from relay.media_reflector.sealing_key import KEY_SIZE, PICK_SIZE, SealingKey
from relay.media_reflector.tickets import Ticket, TicketKind
from relay.wire import decode, encode

KEY_PERIOD = 3600.0
"""Seconds for which tickets are made under one key."""
KEY_LIFETIME = 2 * KEY_PERIOD
"""Seconds after which a key, and every ticket made under it, is gone."""

KEYS_PER_PEER = 2
MAX_BACKUP_PEERS = (MAX_CHECK_KEYS - 2) // KEYS_PER_PEER
"""Reflectors that can have backup keys here at the same time; two keys are for our own tickets."""

MAX_USED = 1 << 16
"""Used tickets remembered for one key.  A key of which more were used is spent; it would take a peer that lies."""

_IDENTITY_SIZE = 32
_VERSION = 1
_LIMIT = MAX_CHECK_KEYS * (MAX_USED * PICK_SIZE + 256)


class _SavedKey(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    key: bytes
    peer: bytes
    since: float
    used: bytes


class _SavedKeys(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    version: int
    keys: list[_SavedKey]


class _HeldKey:
    """A key, whose it is (`peer`; empty: ours), since when, and which of its tickets were used."""

    __slots__ = ("dies", "kind", "peer", "sealing", "since", "used")

    def __init__(self, key: bytes, peer: bytes, since: float) -> None:
        self.sealing = SealingKey(key)
        self.kind = TicketKind.BACKUP if peer else TicketKind.RESUMPTION
        self.peer = peer
        self.since = since
        self.dies = since + KEY_LIFETIME
        self.used: set[bytes] = set()

    def ticket(self, number: bytes) -> Ticket:
        return Ticket(number, self.sealing.secret(number), self.dies, self.kind, self.peer)

    def saved(self) -> _SavedKey:
        return _SavedKey(self.sealing.key, self.peer, self.since, b"".join(sorted(self.used)))

    @classmethod
    def restored(cls, saved: _SavedKey) -> "_HeldKey":
        """Raises `PeerError`."""
        if len(saved.key) != KEY_SIZE or len(saved.peer) not in (0, _IDENTITY_SIZE):
            raise PeerError("bad saved key")
        held = cls(saved.key, saved.peer, saved.since)
        held.used = {saved.used[at : at + PICK_SIZE] for at in range(0, len(saved.used), PICK_SIZE)}
        return held


class TicketKeys:
    """All keys under which tickets are taken here.  Times are monotonic seconds of this machine."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._own: list[_HeldKey] = []
        """Oldest first; the last one makes tickets."""
        self._left: dict[bytes, list[_HeldKey]] = {}
        """By peer, oldest first."""

    @property
    def check_keys(self) -> list[bytes]:
        """What tells the data plane which numbers are worth handing up."""
        return [held.sealing.check_key for held in self._all()]

    def renew(self, now: float) -> bool:
        """Forget keys that are too old, start a new one when it is time.  True when `check_keys` changed."""
        before = len(self._own), sum(map(len, self._left.values()))
        # What begins in the future comes from another boot of the machine, whose clock this is not.
        self._own = [held for held in self._own if held.since <= now < held.dies]
        for peer in list(self._left):
            self._left[peer] = [held for held in self._left[peer] if held.since <= now < held.dies]
            if not self._left[peer]:
                del self._left[peer]
        changed = before != (len(self._own), sum(map(len, self._left.values())))
        if not self._own or now - self._own[-1].since >= KEY_PERIOD:
            self._own.append(_HeldKey(self._entropy.token(KEY_SIZE), b"", now))
            changed = True
        return changed

    def mint(self, now: float) -> Ticket:
        """A fresh resumption ticket; it lives until its key goes, in one hour to two.  After `renew`."""
        if not self._own:
            raise MisuseError("tickets are made after a key is")
        held = self._own[-1]
        return held.ticket(held.sealing.number(self._entropy))

    def has_room(self, peer: bytes) -> bool:
        """Whether `peer` may leave a key."""
        return peer in self._left or len(self._left) < MAX_BACKUP_PEERS

    def leave(self, peer: bytes, key: bytes, now: float) -> None:
        """Take tickets that `peer` makes under `key`; its newest two keys count.  Raises `PeerError` on a key that is
        here already."""
        if any(held.sealing.key == key for held in self._all()):
            raise PeerError("key left twice")
        held = self._left.setdefault(peer, [])
        held.append(_HeldKey(key, peer, now))
        del held[:-KEYS_PER_PEER]

    def keep_peers(self, peers: Iterable[bytes]) -> None:
        """Forget the keys of all other peers."""
        self._left = {peer: self._left[peer] for peer in peers if peer in self._left}

    def find(self, number: bytes, now: float) -> Ticket | None:
        """The unused ticket of that number, made under one of these keys."""
        held = self._maker(number)
        if held is None or not held.since <= now < held.dies:
            return None
        if number[:PICK_SIZE] in held.used or len(held.used) >= MAX_USED:
            return None
        return held.ticket(number)

    def use(self, number: bytes) -> bool:
        """Take the ticket of that number no more.  False when none of these keys made it, or it was used."""
        held = self._maker(number)
        if held is None or number[:PICK_SIZE] in held.used:
            return False
        held.used.add(number[:PICK_SIZE])
        return True

    def save(self) -> bytes:
        """Keys and used tickets, for the next process on this machine; never for a disk."""
        return encode(_SavedKeys(_VERSION, [held.saved() for held in self._all()]))

    def restore(self, data: bytes) -> bool:
        """Take over what `save` gave, in place of what is here.  False, and nothing changes, when it cannot be read."""
        try:
            saved = decode(data, _SavedKeys, limit=_LIMIT)
            if saved.version != _VERSION or len(saved.keys) > MAX_CHECK_KEYS:
                return False
            keys = [_HeldKey.restored(key) for key in saved.keys]
        except PeerError:
            return False
        self._own = [held for held in keys if not held.peer]
        self._left = {}
        for held in keys:
            if held.peer:
                self._left.setdefault(held.peer, []).append(held)
        return True

    def _all(self) -> Sequence[_HeldKey]:
        return [*self._own, *(held for left in self._left.values() for held in left)]

    def _maker(self, number: bytes) -> _HeldKey | None:
        return next((held for held in self._all() if held.sealing.made(number)), None)


class BackupMint:
    """Makes tickets that the reflector of `identity` takes, under a key that was left there."""

    def __init__(self, key: bytes, identity: bytes, entropy: Entropy, left_at: float) -> None:
        """`left_at` is the monotonic time before the key was sent there."""
        self.identity = identity
        self.expires = left_at + KEY_LIFETIME
        self._sealing = SealingKey(key)
        self._entropy = entropy

    def ticket(self, now: float) -> Ticket | None:
        """A fresh backup ticket for one line of ours; None when the key is no longer held there."""
        if now >= self.expires:
            return None
        number = self._sealing.number(self._entropy)
        return Ticket(number, self._sealing.secret(number), self.expires, TicketKind.BACKUP)

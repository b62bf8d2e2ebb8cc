"""Tickets that need no table: resumption tickets of our own, and backup tickets that another reflector makes.

A reflector makes resumption tickets under a key that it changes every hour, and takes them for as long again after
that.  Restarted with its keys restored, it still honours them.  A backup ticket is the same thing under a key that
another reflector picked and left here: it hands them to its lines, so that they can go on here should it die.

Of its own tickets a running reflector remembers which are out, so that it can make one void without using it; that is
as many as its lines hold.  What it made before a restart it takes unless it was used.
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

OWN_KEYS = 4
"""Keys for our own tickets: two when all is quiet, more where keys are spent before their hour is over."""
KEYS_PER_PEER = 2
MAX_BACKUP_PEERS = (MAX_CHECK_KEYS - OWN_KEYS) // KEYS_PER_PEER
"""Reflectors that can have backup keys here at the same time."""

MAX_USED = 1 << 16
"""Used tickets remembered for one key.

A key of ours of which so many were used makes no more tickets, and the next one begins early; what is out under it
stays good, so that nobody can make the tickets of others void by using many.  (The fifth key in two hours pushes out
the oldest.  By then that one has made none while three times as many as this were used, and whoever has a line was
handed a newer ticket.)  A peer's key is spent: that peer made more tickets than it has lines.
"""

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
    """A key, whose it is (`peer`; empty: ours), since when, and which of its tickets were used.

    `out` are those that may still be used, or None: whichever was not (a peer's, or those of a process before).
    """

    __slots__ = ("dies", "kind", "out", "peer", "sealing", "since", "used")

    def __init__(self, key: bytes, peer: bytes, since: float, *, restored: bool = False) -> None:
        self.sealing = SealingKey(key)
        self.kind = TicketKind.BACKUP if peer else TicketKind.RESUMPTION
        self.peer = peer
        self.since = since
        self.dies = since + KEY_LIFETIME
        self.used: set[bytes] = set()
        self.out: set[bytes] | None = None if peer or restored else set()

    @property
    def spent(self) -> bool:
        return len(self.used) >= MAX_USED

    def takes(self, pick: bytes) -> bool:
        """Whether the ticket with this pick may be used."""
        if self.out is not None:
            return pick in self.out
        return pick not in self.used and not (self.peer and self.spent)

    def ticket(self, number: bytes) -> Ticket:
        return Ticket(number, self.sealing.secret(number), self.dies, self.kind, self.peer)

    def saved(self) -> _SavedKey:
        return _SavedKey(self.sealing.key, self.peer, self.since, b"".join(sorted(self.used)))

    @classmethod
    def restored(cls, saved: _SavedKey) -> "_HeldKey":
        """Raises `PeerError`."""
        sound = len(saved.key) == KEY_SIZE and len(saved.used) % PICK_SIZE == 0
        if not sound or len(saved.peer) not in (0, _IDENTITY_SIZE):
            raise PeerError("bad saved key")
        held = cls(saved.key, saved.peer, saved.since, restored=True)
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
    def check_keys(self) -> tuple[list[bytes], list[bytes]]:
        """What tells the data plane which numbers are worth handing up: our own keys', and those of the others."""
        own = [held.sealing.check_key for held in self._own]
        return own, [held.sealing.check_key for left in self._left.values() for held in left]

    def used(self) -> list[bytes]:
        """The numbers of all used tickets that are remembered."""
        return [held.sealing.number_of(pick) for held in self._all() for pick in held.used]

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
        if not self._own or self._own[-1].spent or now - self._own[-1].since >= KEY_PERIOD:
            self._own.append(_HeldKey(self._entropy.token(KEY_SIZE), b"", now))
            del self._own[:-OWN_KEYS]
            changed = True
        return changed

    def mint(self, now: float) -> Ticket:
        """A fresh resumption ticket; it lives until its key goes, in one hour to two.  After `renew`."""
        if not self._own:
            raise MisuseError("tickets are made after a key is")
        held = self._own[-1]
        ticket = held.ticket(held.sealing.number(self._entropy))
        if held.out is not None:
            held.out.add(ticket.id[:PICK_SIZE])
        return ticket

    def void(self, number: bytes) -> None:
        """Take the ticket of that number no more, though nobody used it."""
        held = self._maker(number)
        if held is None:
            return
        if held.out is None:
            held.used.add(number[:PICK_SIZE])
        else:
            held.out.discard(number[:PICK_SIZE])

    def has_room(self, peer: bytes) -> bool:
        """Whether `peer` may leave a key."""
        return peer in self._left or len(self._left) < MAX_BACKUP_PEERS

    def leave(self, peer: bytes, key: bytes, now: float) -> None:
        """Take tickets that `peer` makes under `key`; its newest two keys count.

        A key that it left before stays as it is: our answer to that was lost.  Raises `PeerError` on somebody else's.
        """
        for known in self._all():
            if known.sealing.key == key:
                if known.peer == peer:
                    return
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
        return held.ticket(number) if held.takes(number[:PICK_SIZE]) else None

    def use(self, number: bytes) -> bool:
        """Take the ticket of that number no more.  False when none of these keys made it, or it was used."""
        held, pick = self._maker(number), number[:PICK_SIZE]
        if held is None or not held.takes(pick):
            return False
        held.used.add(pick)
        if held.out is not None:
            held.out.discard(pick)
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

    def ticket(self, now: float, again: bytes = b"") -> Ticket | None:
        """A fresh backup ticket for one line of ours, or that of the number `again`, where this key made it; None when
        the key is no longer held there."""
        if now >= self.expires:
            return None
        number = again if self._sealing.made(again) else self._sealing.number(self._entropy)
        return Ticket(number, self._sealing.secret(number), self.expires, TicketKind.BACKUP)

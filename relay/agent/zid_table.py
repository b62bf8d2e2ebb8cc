"""What the ZID cache holds, and its bytes: canonical, bounded, and nothing in it twice."""

from collections.abc import Collection

import msgspec

from relay import wire
from relay.core import MisuseError, PeerError
from relay.zrtp import Retained, Strength

ZID_SIZE = 12
SECRET_SIZE = 32
MOST_OF_A_CONTACT = 4
"""Peers under one ZID of ours: a contact has an agent, a phone, and the ones before."""
MOST_OWN = 1100
"""Contacts and our own phone, with room for those that are about to go."""
MOST_BYTES = 1 << 20
AFTER_EXPIRY = 30 * 86400
"""Seconds for which an expired secret stays, so that a peer with another clock still has it in common."""
VERSION = 1
_LONGEST_ID = 64
_LONGEST_ENDS = 16


class _Peer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One retained secret.  `until`: Unix seconds, 0 for good."""

    zid: bytes
    rs1: bytes
    rs2: bytes
    hash: int
    cipher: int
    key_agreement: int
    verified: bool
    preshared_uses: int
    until: int

    @classmethod
    def of(cls, zid: bytes, retained: Retained, until: int | None) -> "_Peer":
        strength = retained.strength
        return cls(
            zid,
            retained.rs1,
            retained.rs2,
            strength.hash,
            strength.cipher,
            strength.key_agreement,
            retained.verified,
            retained.preshared_uses,
            until or 0,
        )

    @property
    def retained(self) -> Retained:
        strength = Strength(self.hash, self.cipher, self.key_agreement)
        return Retained(
            self.rs1, strength, self.rs2, verified=self.verified, preshared_uses=self.preshared_uses
        )

    @property
    def sound(self) -> bool:
        sizes = len(self.zid) == ZID_SIZE and len(self.rs1) == SECRET_SIZE
        numbers = (self.hash, self.cipher, self.key_agreement, self.preshared_uses, self.until)
        return sizes and len(self.rs2) in (0, SECRET_SIZE) and min(numbers) >= 0

    def __repr__(self) -> str:
        return "_Peer(...)"


class _Met(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Who was last at one of a contact's ends."""

    ends: str
    zid: bytes


class _Own(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Our ZID for one contact, whom we met under it, and what was retained, the oldest first."""

    contact_id: str
    zid: bytes
    met: tuple[_Met, ...] = ()
    peers: tuple[_Peer, ...] = ()

    @property
    def sound(self) -> bool:
        named = 0 < len(self.contact_id) <= _LONGEST_ID and len(self.zid) == ZID_SIZE
        ends, peers = [one.ends for one in self.met], [one.zid for one in self.peers]
        met = all(len(one.zid) == ZID_SIZE and 0 < len(one.ends) <= _LONGEST_ENDS for one in self.met)
        once = len(set(ends)) == len(ends) and len(set(peers)) == len(peers)
        few = len(ends) <= MOST_OF_A_CONTACT and len(peers) <= MOST_OF_A_CONTACT
        return named and met and once and few and all(peer.sound for peer in self.peers)

    def __repr__(self) -> str:
        return "_Own(...)"


class _Zids(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: int
    own: tuple[_Own, ...]


class ZidTable:
    """The cache's content, to be looked into and changed."""

    def __init__(self) -> None:
        self._own: dict[str, _Own] = {}

    @classmethod
    def from_bytes(cls, content: bytes) -> "ZidTable":
        """Raises `PeerError`."""
        read = wire.decode(content, _Zids, limit=MOST_BYTES)
        if read.version != VERSION:
            raise PeerError("unknown version")
        table = cls()
        table._own = {one.contact_id: one for one in read.own}
        zids = {one.zid for one in read.own}
        if not all(one.sound for one in read.own) or not len(table._own) == len(zids) == len(read.own):
            raise PeerError("malformed")
        return table

    def to_bytes(self, wall: float) -> bytes:
        """Without what expired long before Unix time `wall`."""
        for one in self._own.values():
            peers = tuple(peer for peer in one.peers if not peer.until or wall < peer.until + AFTER_EXPIRY)
            if len(peers) < len(one.peers):
                self._own[one.contact_id] = msgspec.structs.replace(one, peers=peers)
        return wire.encode(_Zids(VERSION, tuple(self._own.values())))

    def copy(self) -> "ZidTable":
        other = ZidTable()
        other._own = dict(self._own)
        return other

    def contacts(self) -> set[str]:
        return set(self._own)

    def own(self, contact_id: str) -> bytes | None:
        """Our ZID for that contact."""
        found = self._own.get(contact_id)
        return found.zid if found is not None else None

    def met(self, contact_id: str, ends: str) -> bytes:
        """Who was there last; empty for nobody."""
        found = self._own.get(contact_id)
        return next((one.zid for one in found.met if one.ends == ends), b"") if found is not None else b""

    def find(self, own_zid: bytes, peer_zid: bytes) -> tuple[Retained, int | None] | None:
        """What is retained, and until when: Unix seconds, None for good."""
        one = self._under(own_zid)
        peers = one.peers if one is not None else ()
        return next(
            ((peer.retained, peer.until or None) for peer in peers if peer.zid == peer_zid),
            None,
        )

    def add(self, contact_id: str, zid: bytes) -> None:
        """A ZID of ours for a contact that has none.  Raises `MisuseError` when there are too many."""
        if contact_id not in self._own:
            if len(self._own) >= MOST_OWN:
                raise MisuseError("too many contacts have keys of calls")
            self._own[contact_id] = _Own(contact_id, zid)

    def meet(self, contact_id: str, own_zid: bytes, ends: str, peer_zid: bytes) -> None:
        """Who is at one of the contact's ends from now on."""
        self.add(contact_id, own_zid)
        one = self._own[contact_id]
        others = tuple(met for met in one.met if met.ends != ends)[: MOST_OF_A_CONTACT - 1]
        self._own[contact_id] = msgspec.structs.replace(one, met=(*others, _Met(ends, peer_zid)))

    def put(self, own_zid: bytes, peer_zid: bytes, retained: Retained, until: int | None) -> None:
        """In place of whatever was there.  What nobody verified makes room first; what somebody did makes none
        for what nobody did."""
        one = self._under(own_zid)
        if one is None:
            # The contact was removed in mid-call: nothing of it is to come back.
            return
        others = [peer for peer in one.peers if peer.zid != peer_zid]
        if len(others) >= MOST_OF_A_CONTACT:
            unverified = next((peer for peer in others if not peer.verified), None)
            if unverified is None and not retained.verified:
                return
            others.remove(unverified or others[0])
        peers = (*others, _Peer.of(peer_zid, retained, until))
        self._own[one.contact_id] = msgspec.structs.replace(one, peers=peers)

    def drop(self, own_zid: bytes, peer_zid: bytes) -> None:
        if (one := self._under(own_zid)) is not None:
            peers = tuple(peer for peer in one.peers if peer.zid != peer_zid)
            self._own[one.contact_id] = msgspec.structs.replace(one, peers=peers)

    def forget(self, contact_id: str) -> None:
        self._own.pop(contact_id, None)

    def keep_only(self, contact_ids: Collection[str]) -> None:
        self._own = {name: one for name, one in self._own.items() if name in contact_ids}

    def _under(self, own_zid: bytes) -> _Own | None:
        return next((one for one in self._own.values() if one.zid == own_zid), None)

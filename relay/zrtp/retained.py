"""What is kept of a peer from call to call: retained secrets and how strong it was (RFC 6189 sections 4.6.1, 4.9).

A cache is handed in.  The one here lives in memory; another one may live on disk, behind the same protocol.
"""

from dataclasses import dataclass, replace
from typing import Protocol

from relay.core import Clock
from relay.zrtp.confirm import FOREVER
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.suites import Offer

MOST_KEPT = 1000
"""Peers in a cache in memory.  Every caller with a ZID of its own leaves an entry."""


@dataclass(frozen=True, slots=True)
class Strength:
    """The most bits of each kind that a peer's Hello offered: what it is held to from then on.

    What was used is no measure: it depends on who began.  Auth tags are none either, every end has all of ours.
    """

    hash: int
    cipher: int
    key_agreement: int

    @classmethod
    def of(cls, offer: Offer) -> "Strength":
        return cls(
            max(8 * kind.size for kind in offer.hashes),
            max(8 * kind.key_size for kind in offer.ciphers),
            max(kind.bits for kind in offer.key_agreements),
        )

    def refuse_less(self, offer: Offer) -> None:
        """Raises `ZrtpError`, a downgrade, where an offer falls short of this (section 4.1.2)."""
        other = Strength.of(offer)
        for before, now, code in (
            (self.hash, other.hash, ErrorCode.HASH),
            (self.cipher, other.cipher, ErrorCode.CIPHER),
            (self.key_agreement, other.key_agreement, ErrorCode.KEY_AGREEMENT),
        ):
            if now < before:
                raise ZrtpError(code, "weaker than before", "4.1.2", downgrade=True)


@dataclass(frozen=True, slots=True)
class Retained:
    """What is kept of one peer.  `rs2` is empty after the first call."""

    rs1: bytes
    strength: Strength
    rs2: bytes = b""
    verified: bool = False
    """V: our user compared the SAS, and every call since was continuous with that one (section 7.1)."""
    expired: bool = False
    """Past the interval that both agreed on: the peer may have dropped it, and that is no alarm (section 4.9)."""
    preshared_uses: int = 0
    """Calls in Preshared mode since the last Diffie-Hellman."""

    def __repr__(self) -> str:
        return "Retained(...)"

    def after_dh(self, rs1: bytes, strength: Strength, *, continued: bool) -> "Retained":
        """With a new secret; the one before is kept for the call that broke off halfway (section 4.6.1)."""
        return Retained(rs1, strength, self.rs1, self.verified and continued)

    def as_verified(self) -> "Retained":
        """Our user compared the SAS."""
        return replace(self, verified=True)

    def after_preshared(self, rs1: bytes) -> "Retained":
        """Preshared mode does not keep the old one."""
        return replace(self, rs1=rs1, expired=False, preshared_uses=self.preshared_uses + 1)


class ZidCache(Protocol):
    """Retained secrets by the two ends' ZIDs.

    An agent may have a ZID for each contact (section 4.9): what was retained with one contact must never vouch for
    another, so both ZIDs are the key.
    """

    def look_up(self, own_zid: bytes, peer_zid: bytes) -> Retained | None:
        """What is kept; past its interval it comes back marked as expired, or not at all."""
        ...

    def keep(self, own_zid: bytes, peer_zid: bytes, retained: Retained, seconds: int) -> None:
        """Put in place of whatever was there, for `seconds` from now; 0xFFFFFFFF is for good."""
        ...

    def forget(self, own_zid: bytes, peer_zid: bytes) -> None:
        """Drop it, if it is there."""
        ...


class MemoryZidCache:
    """A cache that is gone with the process.  When full, it drops the oldest that nobody verified."""

    def __init__(self, clock: Clock, most: int = MOST_KEPT) -> None:
        self._clock = clock
        self._most = most
        self._kept: dict[tuple[bytes, bytes], tuple[Retained, float]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def look_up(self, own_zid: bytes, peer_zid: bytes) -> Retained | None:
        if (found := self._kept.get((own_zid, peer_zid))) is None:
            return None
        retained, until = found
        return replace(retained, expired=self._clock.wall() >= until)

    def keep(self, own_zid: bytes, peer_zid: bytes, retained: Retained, seconds: int) -> None:
        key = own_zid, peer_zid
        until = float("inf") if seconds == FOREVER else self._clock.wall() + seconds
        self._kept.pop(key, None)
        if len(self._kept) >= self._most and not self._make_room(retained):
            return
        self._kept[key] = retained, until

    def _make_room(self, newcomer: Retained) -> bool:
        """Strangers push strangers out, and never somebody who was verified."""
        for key, (retained, _) in self._kept.items():
            if not retained.verified:
                del self._kept[key]
                return True
        if newcomer.verified:
            del self._kept[next(iter(self._kept))]
        return newcomer.verified

    def forget(self, own_zid: bytes, peer_zid: bytes) -> None:
        self._kept.pop((own_zid, peer_zid), None)

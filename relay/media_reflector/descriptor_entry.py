"""Reflectors' descriptors as entries that contact points keep and hand on like records.

The key is the reflector's identity.  Revision and expiry are both the time until which the descriptor is valid, so that
a newer one never expires before an older one, and what went does not come back.  A reflector dates each descriptor that
says something else later than the one before (`relay.media_reflector.series`); of two with the same dates all the same,
all contact points keep the one whose bytes sort higher.

What is an entry to contact points is decided in `relay.forward_publish`, which stands beside this package; number and
size are said again here, and a test holds the two together.
"""

from dataclasses import dataclass

from relay.core import MisuseError, PeerError
from relay.media_reflector.descriptor import (
    CLOCK_SKEW,
    DESCRIPTOR_LIMIT,
    VALIDITY,
    Descriptor,
    SignedDescriptor,
    verify_descriptor,
)
from relay.wire import decode, pad, unpad

ENTRY_KIND = 3
"""`EntryKind.DESCRIPTOR` of `relay.forward_publish`."""
SLOT_SIZE = 4080
"""Bytes of every entry of this kind."""

_LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class DescriptorEntry:
    """A signed descriptor in its slot; a `ReadEntry` of `relay.forward_publish`."""

    descriptor: Descriptor
    signed: bytes
    body: bytes

    @classmethod
    def of(cls, signed: bytes) -> "DescriptorEntry":
        """The entry of a descriptor that a reflector signed.  Raises `MisuseError`: it is ours."""
        try:
            return cls.parse(pad(signed, SLOT_SIZE))
        except PeerError:
            raise MisuseError("a descriptor that contact points would refuse") from None

    @classmethod
    def parse(cls, slot: bytes) -> "DescriptorEntry":
        """Read a slot; form alone.

        Raises `PeerError` ("oversized", "truncated", "non-canonical", "malformed").
        """
        signed = _content(slot)
        outer = decode(signed, SignedDescriptor, limit=DESCRIPTOR_LIMIT)
        descriptor = decode(outer.descriptor, Descriptor, limit=DESCRIPTOR_LIMIT)
        from_, until = descriptor.valid_from, descriptor.valid_until
        if descriptor.fault() or not 0 <= from_ < until <= min(from_ + VALIDITY, _LARGEST - 1):
            raise PeerError("malformed")
        return cls(descriptor, signed, slot)

    @property
    def kind(self) -> int:
        return ENTRY_KIND

    @property
    def key(self) -> bytes:
        return self.descriptor.identity

    @property
    def revision(self) -> int:
        return self.descriptor.valid_until

    @property
    def expires(self) -> int:
        return self.descriptor.valid_until

    def verify(self) -> None:
        """Raises `PeerError` ("forged") unless the identity in it signed it."""
        try:
            verify_descriptor(self.signed, self.descriptor.reference, self.descriptor.valid_from)
        except PeerError:
            raise PeerError("forged") from None

    def check_time(self, now: float, *, ahead: float = CLOCK_SKEW) -> None:
        """Raises `PeerError` ("expired", "future-dated") where it is of no use at Unix time `now`."""
        if self.expires <= now - CLOCK_SKEW:
            raise PeerError("expired")
        if self.descriptor.valid_from > now + ahead:
            raise PeerError("future-dated")


def _content(slot: bytes) -> bytes:
    """What fills a slot, without its filling."""
    if len(slot) != SLOT_SIZE:
        raise PeerError("oversized" if len(slot) > SLOT_SIZE else "truncated")
    try:
        return unpad(slot)
    except PeerError:
        raise PeerError("non-canonical") from None

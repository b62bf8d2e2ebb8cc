"""What a reflector says of itself, signed: where its cells go, its keys, its profile, how full it is, until when.

A user accepts a reflector by its reference, `bayonne-reflector:ONION/IDENTITY`, alone or on a signed list; the
descriptor is fetched from that onion service and must be signed by that identity.
"""

import base64
import ipaddress
import re
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from relay.core import MisuseError, PeerError
from relay.media_reflector.occupancy import FULL
from relay.wire import decode, encode

ONION_PORT = 7220
"""Virtual port of a reflector's onion service: descriptor and tickets."""

VERSION = 2
PROFILE = "voice"
VALIDITY = 24 * 3600
"""Seconds that a descriptor is valid after it was signed."""
CLOCK_SKEW = 30 * 60
"""Seconds by which clocks may disagree."""

IDENTITY_SIZE = 32
STATIC_KEY_SIZE = 32
KEM_KEY_SIZE = 1216
MOST_CAPACITY = 1_000_000
MAX_TRUNKS = 16
"""So many of another reflector's trunks fit into the one size of every answer."""
MOST_SLOTS = 100_000
DESCRIPTOR_LIMIT = 2560
"""Bytes of a signed descriptor at most."""

_CONTEXT = b"bayonne reflector descriptor 2\0"
_REFERENCE = re.compile(r"bayonne-reflector:([a-z2-7]{56})/([a-z2-7]{52})")


@dataclass(frozen=True, slots=True)
class ReflectorReference:
    """The text by which a reflector is handed on: its onion service and its identity."""

    onion: str
    identity: bytes

    @classmethod
    def parse(cls, text: str) -> "ReflectorReference":
        """Raises `MisuseError`: a reference is something the user typed into a configuration."""
        found = _REFERENCE.fullmatch(text.strip())
        if found is None:
            raise MisuseError("not a reflector reference: 'bayonne-reflector:ONION/IDENTITY' expected")
        identity = unbase32(found.group(2), IDENTITY_SIZE)
        if identity is None:
            raise MisuseError("not a reflector reference: the identity is damaged")
        return cls(found.group(1), identity)

    def __str__(self) -> str:
        return f"bayonne-reflector:{self.onion}/{base32(self.identity)}"


def base32(data: bytes) -> str:
    """RFC 4648 in small letters, without padding."""
    return base64.b32encode(data).decode().rstrip("=").lower()


def unbase32(text: str, size: int) -> bytes | None:
    """The `size` bytes that `base32` writes as exactly `text`, else None."""
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        return None
    return data if len(data) == size and base32(data) == text else None


class Descriptor(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A reflector's keys, addresses and load.  Times are Unix seconds.

    `addresses` holds one IPv4 address, one IPv6 address, or both.  `capacity` is in lines, to two digits; `occupancy`
    is a level of `relay.media_reflector.occupancy`, and a claim of the reflector's own.  `trunks` are the identities
    of the reflectors that it keeps a trunk with, and the slots of each; `backup` is the reference of the one that
    takes its lines when it dies, or empty.
    """

    version: int
    identity: bytes
    onion: str
    addresses: tuple[tuple[str, int], ...]
    static_key: bytes
    kem_key: bytes
    profile: str
    capacity: int
    occupancy: int
    draining: bool
    valid_from: int
    valid_until: int
    trunks: tuple[tuple[bytes, int], ...] = ()
    backup: str = ""

    @property
    def reference(self) -> ReflectorReference:
        return ReflectorReference(self.onion, self.identity)

    @property
    def takes_lines(self) -> bool:
        """Whether a new line is worth a try, by the reflector's own account."""
        return not self.draining and self.occupancy < FULL

    def address_for(self, *versions: int) -> tuple[str, int] | None:
        """Where its cells go: the first of these IP versions (4, 6) that it has an address of."""
        by_version = {_version(host): (host, port) for host, port in self.addresses}
        return next((by_version[version] for version in versions if version in by_version), None)

    def fault(self) -> str:
        """What is wrong with it, in a few fixed words; empty when nothing is.  Dates are not looked at."""
        if (self.version, self.profile) != (VERSION, PROFILE):
            return "unknown descriptor version or profile"
        if (len(self.identity), len(self.static_key), len(self.kem_key)) != (
            IDENTITY_SIZE,
            STATIC_KEY_SIZE,
            KEM_KEY_SIZE,
        ):
            return "bad descriptor key"
        versions = [_version(host) for host, port in self.addresses if 0 < port < 65536]
        if len(versions) != len(self.addresses) or versions not in ([4], [6], [4, 6]):
            return "bad descriptor address"
        if not 0 < self.capacity <= MOST_CAPACITY or self.capacity != rounded_capacity(self.capacity):
            return "bad descriptor capacity"
        if not 0 <= self.occupancy <= FULL:
            return "bad descriptor occupancy"
        if not self._trunks_are_sound():
            return "bad descriptor trunks"
        if self.backup and not self._backup_is_sound():
            return "bad descriptor backup"
        return ""

    def _trunks_are_sound(self) -> bool:
        peers = {peer for peer, _ in self.trunks}
        return (
            len(peers) == len(self.trunks) <= MAX_TRUNKS
            and self.identity not in peers
            and all(len(peer) == IDENTITY_SIZE for peer in peers)
            and all(0 < slots <= MOST_SLOTS for _, slots in self.trunks)
        )

    def _backup_is_sound(self) -> bool:
        try:
            reference = ReflectorReference.parse(self.backup)
        except MisuseError:
            return False
        return str(reference) == self.backup and reference.identity != self.identity


class SignedDescriptor(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """The canonical bytes of a `Descriptor` and the Ed25519 signature of its identity."""

    descriptor: bytes
    signature: bytes


def _version(host: str) -> int:
    """4 or 6 when `host` is the address of one machine, written out in the one usual way; else 0.

    A name would have to be asked for in DNS; cells to a group of machines, to every one, or to none that is named would
    end anywhere; an IPv4 address in IPv6 clothes would get around the choice of one of each; a link-local one means
    another machine on every link.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return 0
    if str(address) != host or address.is_unspecified or address.is_multicast or address.is_link_local:
        return 0
    if isinstance(address, ipaddress.IPv4Address):
        return 0 if address.is_reserved else 4
    return 0 if "%" in host or address.ipv4_mapped is not None or address.is_site_local else 6


def rounded_capacity(lines: int) -> int:
    """`lines` rounded down to two significant digits, so that a capacity is no fingerprint of a machine."""
    unit: int = 10 ** max(0, len(str(lines)) - 2)
    return lines // unit * unit


def sign_descriptor(descriptor: Descriptor, key: Ed25519PrivateKey) -> bytes:
    """The signed descriptor as it travels."""
    data = encode(descriptor)
    return encode(SignedDescriptor(data, key.sign(_CONTEXT + data)))


def verify_descriptor(data: bytes, reference: ReflectorReference, now: float) -> Descriptor:
    """The descriptor that `reference` stands for.  `now` is wall time.

    Raises `PeerError` when it is malformed, signed by somebody else, of another onion service or out of date.
    """
    signed = decode(data, SignedDescriptor, limit=DESCRIPTOR_LIMIT)
    try:
        Ed25519PublicKey.from_public_bytes(reference.identity).verify(
            signed.signature, _CONTEXT + signed.descriptor
        )
    except (InvalidSignature, ValueError):
        raise PeerError("bad descriptor signature") from None
    descriptor = decode(signed.descriptor, Descriptor, limit=DESCRIPTOR_LIMIT)
    if fault := descriptor.fault():
        raise PeerError(fault)
    if descriptor.reference != reference:
        raise PeerError("descriptor of another reflector")
    if not descriptor.valid_from - CLOCK_SKEW <= now <= descriptor.valid_until + CLOCK_SKEW:
        raise PeerError("descriptor out of date")
    return descriptor

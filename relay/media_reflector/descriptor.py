"""What a reflector says of itself, signed: where its cells go, its keys, its profile, until when.

A user accepts a reflector by its reference, `bayonne-reflector:ONION/IDENTITY`; the descriptor is fetched
from that onion service and must be signed by that identity.
"""

import base64
import ipaddress
import re
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from relay.core import MisuseError, PeerError
from relay.wire import decode, encode

ONION_PORT = 7220
"""Virtual port of a reflector's onion service: descriptor and tickets."""

PROFILE = "voice"
VALIDITY = 24 * 3600
"""Seconds that a descriptor is valid after it was signed."""
CLOCK_SKEW = 30 * 60
"""Seconds by which clocks may disagree."""

STATIC_KEY_SIZE = 32
KEM_KEY_SIZE = 1216
_LIMIT = 2048
_CONTEXT = b"bayonne reflector descriptor 1\0"
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
        identity = base64.b32decode(found.group(2).upper() + "====")
        if _base32(identity) != found.group(2):
            raise MisuseError("not a reflector reference: the identity is damaged")
        return cls(found.group(1), identity)

    def __str__(self) -> str:
        return f"bayonne-reflector:{self.onion}/{_base32(self.identity)}"


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


class Descriptor(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A reflector's keys and addresses.  Times are Unix seconds."""

    version: int
    identity: bytes
    onion: str
    udp_host: str
    udp_port: int
    static_key: bytes
    kem_key: bytes
    profile: str
    valid_from: int
    valid_until: int

    @property
    def reference(self) -> ReflectorReference:
        return ReflectorReference(self.onion, self.identity)


class SignedDescriptor(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """The canonical bytes of a `Descriptor` and the Ed25519 signature of its identity."""

    descriptor: bytes
    signature: bytes


_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


def _is_one_address(host: str) -> bool:
    """Whether `host` is the address of one machine, written out.

    A name would have to be asked for in DNS; cells to a group of machines, to every one, or to none that is
    named would end anywhere.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return "%" not in host and not (address.is_unspecified or address.is_multicast or address == _BROADCAST)


def sign_descriptor(descriptor: Descriptor, key: Ed25519PrivateKey) -> bytes:
    """The signed descriptor as it travels."""
    data = encode(descriptor)
    return encode(SignedDescriptor(data, key.sign(_CONTEXT + data)))


def verify_descriptor(data: bytes, reference: ReflectorReference, now: float) -> Descriptor:
    """The descriptor that `reference` stands for.  `now` is wall time.

    Raises `PeerError` when it is malformed, signed by somebody else, of another onion service or out of date.
    """
    signed = decode(data, SignedDescriptor, limit=_LIMIT)
    try:
        Ed25519PublicKey.from_public_bytes(reference.identity).verify(
            signed.signature, _CONTEXT + signed.descriptor
        )
    except (InvalidSignature, ValueError):
        raise PeerError("bad descriptor signature") from None
    descriptor = decode(signed.descriptor, Descriptor, limit=_LIMIT)
    if (descriptor.version, descriptor.profile) != (1, PROFILE):
        raise PeerError("unknown descriptor version or profile")
    if descriptor.reference != reference:
        raise PeerError("descriptor of another reflector")
    if len(descriptor.static_key) != STATIC_KEY_SIZE or len(descriptor.kem_key) != KEM_KEY_SIZE:
        raise PeerError("bad descriptor key")
    if not 0 < descriptor.udp_port < 65536 or not _is_one_address(descriptor.udp_host):
        raise PeerError("bad descriptor address")
    if not descriptor.valid_from - CLOCK_SKEW <= now <= descriptor.valid_until + CLOCK_SKEW:
        raise PeerError("descriptor out of date")
    return descriptor

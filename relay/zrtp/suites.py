"""The algorithms that Hello and Commit name, and which of them two ends use (RFC 6189 sections 4.1.2, 5.1.2 to 5.1.6).

X255 is X25519 as ZRTP's other implementations name it; the RFC came before RFC 7748 and does not know it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from relay.zrtp.errors import ErrorCode, ZrtpError


class HashType(StrEnum):
    """Section 5.1.2."""

    S256 = "S256"
    S384 = "S384"

    @property
    def size(self) -> int:
        """Bytes of a hash, and of the MAC made of it."""
        return 48 if self is HashType.S384 else 32

    @property
    def digest_name(self) -> str:
        """What `hashlib` calls it."""
        return "sha384" if self is HashType.S384 else "sha256"

    def digest(self, data: bytes) -> bytes:
        """hash(data)."""
        return hashlib.new(self.digest_name, data).digest()


class CipherType(StrEnum):
    """Section 5.1.3."""

    AES1 = "AES1"
    AES3 = "AES3"

    @property
    def key_size(self) -> int:
        """Bytes of an SRTP master key, and of the key for Confirm messages."""
        return 32 if self is CipherType.AES3 else 16


class AuthTagType(StrEnum):
    """Section 5.1.4: HMAC-SHA1 in SRTP, by bits."""

    HS32 = "HS32"
    HS80 = "HS80"


class KeyAgreementType(StrEnum):
    """Section 5.1.5, from fastest to slowest (section 4.1.2), then the modes without Diffie-Hellman."""

    X255 = "X255"
    EC25 = "EC25"
    DH3K = "DH3k"
    EC38 = "EC38"
    PRSH = "Prsh"
    MULT = "Mult"

    @property
    def is_dh(self) -> bool:
        """Whether DHPart messages are exchanged."""
        return self not in (KeyAgreementType.PRSH, KeyAgreementType.MULT)

    @property
    def bits(self) -> int:
        """Strength; none of the modes without Diffie-Hellman adds any."""
        return 192 if self is KeyAgreementType.EC38 else 128 if self.is_dh else 0


class SasType(StrEnum):
    """Section 5.1.6.  Blocks are four bytes, with a space at the end where the name is shorter."""

    B32 = "B32 "
    B256 = "B256"


MANDATORY = (
    HashType.S256,
    CipherType.AES1,
    AuthTagType.HS80,
    AuthTagType.HS32,
    KeyAgreementType.DH3K,
    SasType.B32,
)
"""What every end has, listed in its Hello or not (section 5.2)."""

_SPEED = {kind: rank for rank, kind in enumerate(KeyAgreementType)}


@dataclass(frozen=True, slots=True)
class Suite:
    """One algorithm of each kind: what a Commit names."""

    hash: HashType
    cipher: CipherType
    auth_tag: AuthTagType
    key_agreement: KeyAgreementType
    sas: SasType


@dataclass(frozen=True, slots=True)
class Offer:
    """What a Hello lists, in order of preference, with the mandatory ones that it leaves out at the end.

    Algorithms that this program does not know are left out when a Hello is read.
    """

    hashes: tuple[HashType, ...]
    ciphers: tuple[CipherType, ...]
    auth_tags: tuple[AuthTagType, ...]
    key_agreements: tuple[KeyAgreementType, ...]
    sas_types: tuple[SasType, ...]

    def completed(self) -> "Offer":
        """With whatever is mandatory (section 5.2)."""
        return Offer(
            _with_mandatory(self.hashes, HashType),
            _with_mandatory(self.ciphers, CipherType),
            _with_mandatory(self.auth_tags, AuthTagType),
            _with_mandatory(self.key_agreements, KeyAgreementType),
            _with_mandatory(self.sas_types, SasType),
        )

    def admits(self, suite: Suite) -> None:
        """Raises `ZrtpError` with the code for what this end did not offer (sections 4.4.1.1, 5.1.5)."""
        if suite.hash not in self.hashes:
            raise ZrtpError(ErrorCode.HASH, "hash not offered", "4.4.1.1")
        if suite.cipher not in self.ciphers:
            raise ZrtpError(ErrorCode.CIPHER, "cipher not offered", "4.4.1.1")
        if suite.auth_tag not in self.auth_tags:
            raise ZrtpError(ErrorCode.AUTH_TAG, "auth tag not offered", "4.4.1.1")
        if suite.key_agreement not in self.key_agreements:
            raise ZrtpError(ErrorCode.KEY_AGREEMENT, "key agreement not offered", "4.4.1.1")
        if suite.sas not in self.sas_types:
            raise ZrtpError(ErrorCode.SAS, "SAS type not offered", "4.4.1.1")
        if suite.key_agreement is KeyAgreementType.EC38 and suite.hash is not HashType.S384:
            raise ZrtpError(ErrorCode.HASH, "EC38 without S384", "5.1.5")


_Block = TypeVar("_Block", HashType, CipherType, AuthTagType, KeyAgreementType, SasType)


def _with_mandatory(listed: tuple[_Block, ...], kind: type[_Block]) -> tuple[_Block, ...]:
    implied = tuple(block for block in MANDATORY if isinstance(block, kind) and block not in listed)
    return listed + implied


def choose(ours: Offer, theirs: Offer, *, key_agreement: KeyAgreementType | None = None) -> Suite:
    """What this end commits to: the key agreement by section 4.1.2, the rest by our own preference.

    `key_agreement` sets a mode without Diffie-Hellman.  Both offers are completed ones, so that something is always
    in common.
    """
    agreed = key_agreement or common_key_agreement(ours, theirs)
    hashes, ciphers = _common(ours.hashes, theirs.hashes), _common(ours.ciphers, theirs.ciphers)
    if agreed is KeyAgreementType.EC38:
        hashes = [HashType.S384]
        # "AES-256 SHOULD be used" with it.
        ciphers.sort(key=lambda cipher: cipher is not CipherType.AES3)
    return Suite(
        hashes[0],
        ciphers[0],
        _common(ours.auth_tags, theirs.auth_tags)[0],
        agreed,
        _common(ours.sas_types, theirs.sas_types)[0],
    )


def common_key_agreement(ours: Offer, theirs: Offer) -> KeyAgreementType:
    """The faster one of both ends' first choices among what they have in common."""
    both_384 = HashType.S384 in ours.hashes and HashType.S384 in theirs.hashes

    def first(kinds: Sequence[KeyAgreementType], others: Sequence[KeyAgreementType]) -> KeyAgreementType:
        usable = (kind for kind in kinds if kind is not KeyAgreementType.EC38 or both_384)
        return next(kind for kind in usable if kind.is_dh and kind in others)

    ours_first = first(ours.key_agreements, theirs.key_agreements)
    theirs_first = first(theirs.key_agreements, ours.key_agreements)
    return min(ours_first, theirs_first, key=_SPEED.__getitem__)


def _common(ours: Sequence[_Block], theirs: Sequence[_Block]) -> list[_Block]:
    return [block for block in ours if block in theirs]

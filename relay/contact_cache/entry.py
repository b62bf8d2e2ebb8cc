"""What contact points keep and exchange, as a store sees it: five fields, of which one orders and one counts.

Of two entries of one (kind, key) the higher revision wins; of two with one revision the one whose bytes sort
higher, so that all contact points come to the same set whatever order they learn things in (DESIGN.md section 5).
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

SHORT_HASH_SIZE = 8


class Entry(Protocol):
    """What is stored; `relay.forward_publish` supplies objects that have verified themselves."""

    @property
    def kind(self) -> int: ...
    @property
    def key(self) -> bytes:
        """32 bytes."""
        ...

    @property
    def revision(self) -> int:
        """0 to 2^63 - 1."""
        ...

    @property
    def expires(self) -> int:
        """Unix seconds."""
        ...

    @property
    def body(self) -> bytes:
        """The whole slot: one size for all entries of a kind, and everything above said again and signed."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One stored entry; it is an `Entry` itself."""

    kind: int
    key: bytes
    revision: int
    expires: int
    body: bytes


class Summary(NamedTuple):
    """What tells one point whether another one's entry is news: no body has to be read for it."""

    key: bytes
    revision: int
    body_hash: bytes
    """The first 8 bytes of SHA-256: two bodies of one revision are told apart by them, no more."""


class Outcome(IntEnum):
    """What became of an entry that was brought."""

    STORED = 0
    SAME = 1
    OLDER = 2


def short_hash(body: bytes) -> bytes:
    """`Summary.body_hash` of a body."""
    return hashlib.sha256(body).digest()[:SHORT_HASH_SIZE]

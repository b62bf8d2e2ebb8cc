"""Proof of work for what strangers leave at a contact point.

Nobody has an account there and all connections look alike, so what keeps a stranger from filling the store is that
each entry costs computing: a nonce for which BLAKE2b over kind, key, revision, slot and nonce begins with enough zero
bits.  The work is for one slot, good at every contact point, and worth nothing for the next revision.  A key that is
new costs more the fuller the store is; to replace what is there costs the least that is ever asked, so that whoever
fills the store cannot silence those who were there.  Contact points that pull from one another show no work.
"""

import hashlib
from collections.abc import Iterator
from typing import Protocol

WORK_SIZE = 8
"""Bytes of a nonce."""

BASE_BITS = 12
"""Zero bits that every entry needs: some milliseconds."""

MOST_BITS = 24
"""More than this no honest contact point asks for, and nobody tries to find: some ten seconds."""

HASHES_PER_STEP = 256
"""About a fifth of a millisecond: little enough beside cells that leave every 20 ms."""

_FREE_UNTIL = 0.5
_STEP_OF_FILL = 0.05
_DOMAIN = b"bayonne entry work, version 1\x00"
_DIGEST_SIZE = 8


class Worked(Protocol):
    """What work is for: an entry does."""

    @property
    def kind(self) -> int: ...
    @property
    def key(self) -> bytes: ...
    @property
    def revision(self) -> int: ...
    @property
    def body(self) -> bytes: ...


def bits_wanted(count: int, limit: int, base: int = BASE_BITS) -> int:
    """Zero bits for a new key where `count` of `limit` entries are there: one more for each 5 % above a half."""
    above = count / limit - _FREE_UNTIL
    # Rounded first: 0.55 - 0.5 is a little more than 0.05 for a computer, and 0.6 - 0.5 a little less than 0.1.
    return base + max(0, int(round(above / _STEP_OF_FILL, 6)))


def work_bits(entry: Worked, work: bytes) -> int:
    """How many zero bits the nonce brings for this entry."""
    return _zero_bits(hashlib.blake2b(_challenge(entry) + work, digest_size=_DIGEST_SIZE).digest())


def grind(entry: Worked, bits: int) -> Iterator[bytes | None]:
    """Look for a nonce, `HASHES_PER_STEP` hashes at a time: None after a step that found nothing, then the nonce."""
    target = 1 << (8 * _DIGEST_SIZE - bits)
    started = hashlib.blake2b(_challenge(entry), digest_size=_DIGEST_SIZE)
    nonce = 0
    while True:
        for _ in range(HASHES_PER_STEP):
            work = nonce.to_bytes(WORK_SIZE)
            attempt = started.copy()
            attempt.update(work)
            if int.from_bytes(attempt.digest()) < target:
                yield work
                return
            nonce += 1
        yield None


def do_work(entry: Worked, bits: int) -> bytes:
    """`grind` in one go, for tests and for programs that have nothing else to do."""
    return next(work for work in grind(entry, bits) if work is not None)


def _challenge(entry: Worked) -> bytes:
    numbers = entry.kind.to_bytes(1) + entry.revision.to_bytes(8)
    return _DOMAIN + numbers + entry.key + hashlib.sha256(entry.body).digest()


def _zero_bits(digest: bytes) -> int:
    return 8 * len(digest) - int.from_bytes(digest).bit_length()

"""Digests of sets: the same for the same set however it came about, another one for any other."""

import numpy as np

from relay.contact_cache.digests import CHILDREN, EMPTY_DIGEST, SetDigests, child_of, entry_digest
from relay.core import SeededEntropy


def _digests(count: int, seed: str = "entries") -> list[bytes]:
    entropy = SeededEntropy(seed)
    return [entropy.token(16) for _ in range(count)]


def _of(entries: list[bytes]) -> bytes:
    digests = SetDigests(1)
    for entry in entries:
        digests.add(0, entry)
    return digests.digests()[0]


def test_order_and_detours_leave_nothing() -> None:
    entries, others = _digests(200), _digests(50, "others")
    back = SetDigests(1)
    for entry in [*others, *reversed(entries)]:
        back.add(0, entry)
    back.digests()
    for other in others:
        back.remove(0, other)
    assert back.digests()[0] == _of(entries)


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    entries = _digests(5000)
    parts = [number * 7 % CHILDREN for number in range(5000)]
    singly, at_once = SetDigests(), SetDigests()
    for part, entry in zip(parts, entries, strict=True):
        singly.add(part, entry)
    at_once.add_many(np.array(parts, dtype=np.int64), entries)
    assert singly.digests() == at_once.digests()
    at_once.add_many(np.array([], dtype=np.int64), [])
    assert singly.digests() == at_once.digests()


def test_no_entries_have_the_empty_digest() -> None:
    digests = SetDigests()
    assert digests.digests() == (EMPTY_DIGEST,) * CHILDREN
    (entry,) = _digests(1)
    digests.add(7, entry)
    assert [part for part, digest in enumerate(digests.digests()) if digest != EMPTY_DIGEST] == [7]
    digests.remove(7, entry)
    assert digests.digests() == (EMPTY_DIGEST,) * CHILDREN


def test_key_revision_and_body_all_count() -> None:
    key, body = bytes(range(32)), b"body"
    variants = [(key, 5, body), (key[:-1] + b"\xff", 5, body), (key, 6, body), (key, 5, b"Body")]
    assert len({entry_digest(*variant) for variant in variants}) == len(variants)


def test_sets_are_told_apart_by_every_member() -> None:
    entries = _digests(64)
    whole = _of(entries)
    for absent in range(len(entries)):
        assert _of(entries[:absent] + entries[absent + 1 :]) != whole
    assert _of([*entries, entries[0]]) != whole


def test_entries_with_one_sum_modulo_2_to_the_128_do_not_stand_for_one_another() -> None:
    """Such sets are what an attacker can find."""
    ours = [bytes(15) + b"\x05", bytes(15) + b"\x05"]
    theirs = [bytes(15) + b"\x04", bytes(15) + b"\x06"]
    assert sum(map(int.from_bytes, ours)) == sum(map(int.from_bytes, theirs))
    assert _of(ours) != _of(theirs)


def test_prefixes_are_the_first_twelve_bits() -> None:
    assert child_of(b"\xab\xcd" + bytes(30)) == 0xABC
    assert child_of(bytes(32)) == 0
    assert child_of(b"\xff" * 32) == CHILDREN - 1

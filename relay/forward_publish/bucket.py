"""What a client makes of a bucket: what it wanted, and whether the halves of the bucket may be asked for.

Everything here happens after the answer has come and says nothing to anybody: a lookup that finds something and one
that does not check the same number of signatures.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from relay.core import Entropy, MisuseError, PeerError
from relay.forward_publish.answers import parse_slots
from relay.forward_publish.entries import (
    LEAST_IN_BUCKET,
    EntryKind,
    ReadEntry,
    key_range,
    prefix_of,
)
from relay.forward_publish.parsers import EntryParsers
from relay.forward_publish.periods import CLOCK_SKEW, PEER_SKEW, STILL_THERE
from relay.forward_publish.requests import Fetch, Middle

CHECKED = 16
"""Signatures that one look into a bucket checks.

Those of the wanted entries, and of others by lot, up to this number.  No honest contact point has an entry with a bad
signature, so that a single one is enough to believe it nothing: where fewer than half of a bucket are genuine, all of
16 are so once in 65,536 looks.  To check all 128 would take 16 ms instead of 2 and would not be worth more: whoever
lies can sign what it makes up as easily.
"""

MOST_PAGES = 16
"""Pages of one bucket that are worth fetching.

An honest contact point's bucket has one or two where its halves may not be asked for, unless strangers fill one of
them and leave the other with fewer than 64: then nothing under that prefix can be looked up there.
"""

_LATER_GONE = STILL_THERE - CLOCK_SKEW
"""Seconds by which an entry counts longer in a crowd than where it is wanted itself."""

_PARSERS = EntryParsers()


@dataclass(frozen=True, slots=True)
class Look:
    """What was found in a bucket: authentic and in time.

    `confirmed`: the bucket holds at least 64 entries that could be the wanted one.
    """

    found: tuple[ReadEntry, ...] = field(repr=False)
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Bucket:
    """One page of a bucket, or some of them joined, or what lies around its middle.

    `pages` and `wide` are what the contact point says (`relay.forward_publish.answers.Heading`).

    `entries` have the right form, lie under the prefix and come in the order of their keys; `refused` counts slots
    that do not.  Signatures and times are not checked yet: see `look`, `good` and `halves_good_until`.
    """

    kind: EntryKind
    bits: int
    prefix: int = field(repr=False)
    entries: tuple[ReadEntry, ...] = field(repr=False)
    refused: int
    pages: int
    wide: int

    @classmethod
    def parse(cls, answer: bytes, asked: Fetch | Middle, parsers: EntryParsers = _PARSERS) -> "Bucket":
        """Read the answer to `asked`.  Raises `PeerError` where its form as a whole is wrong."""
        heading, slots = parse_slots(answer, asked)
        first, last = key_range(asked.bits, asked.prefix)
        entries: list[ReadEntry] = []
        for slot in slots:
            try:
                entry = parsers.parse(asked.kind, slot)
            except PeerError as error:
                if error.reason == "wrong kind":
                    raise
                continue
            behind = not entries or entries[-1].key < entry.key
            if behind and first <= entry.key <= last:
                entries.append(entry)
        refused = len(slots) - len(entries)
        return cls(
            asked.kind,
            asked.bits,
            asked.prefix,
            tuple(entries),
            refused,
            heading.pages,
            heading.wide,
        )

    @classmethod
    def join(cls, pages: Sequence["Bucket"]) -> "Bucket":
        """Pages of one bucket, in their order, as one.

        What came or went between two answers may stand on two pages, or on none.
        """
        if not pages or {(one.kind, one.bits, one.prefix) for one in pages} != {
            (pages[0].kind, pages[0].bits, pages[0].prefix)
        }:
            raise MisuseError("pages of different buckets")
        entries = {entry.key: entry for one in pages for entry in one.entries}
        refused = sum(one.refused for one in pages)
        whole = tuple(entries[key] for key in sorted(entries))
        last = pages[-1]
        return cls(last.kind, last.bits, last.prefix, whole, refused, last.pages, last.wide)

    def look(self, wanted: Collection[bytes], now: float, entropy: Entropy) -> Look:
        """The entries under the keys `wanted`, at Unix time `now`, in the order of these.

        Some others are checked as well, see `CHECKED`.
        """
        usable = {entry.key: entry for entry in self.entries if _in_crowd(entry, now)}
        mine = [usable[key] for key in wanted if key in usable and _in_time(usable[key], now)]
        others = [entry for key, entry in usable.items() if key not in wanted]
        sample = entropy.draw(others, CHECKED - len(mine))
        found = tuple(_authentic(mine))
        honest = not self.refused and len(found) == len(mine) and len(_authentic(sample)) == len(sample)
        return Look(found, honest and len(usable) >= LEAST_IN_BUCKET)

    def good(self, now: float) -> tuple[ReadEntry, ...]:
        """All entries that are authentic and in time: for who wants everything, such as all listings."""
        return tuple(_authentic(entry for entry in self.entries if _in_time(entry, now)))

    def half_is_wide(self, key: bytes) -> bool:
        """Of what lies around a middle: whether the half in which `key` lies has halves of 64 entries, they say."""
        return bool(self.wide >> (prefix_of(key, self.bits + 1) & 1) & 1)

    def halves_good_until(self, now: float) -> int | None:
        """Of what lies around a middle, at Unix time `now`: when the first of these entries expires, where they bear
        out that each half of the bucket holds 64, all of them signed and in time; else None.

        A single bad one is enough to believe it nothing.  Both halves or none: an agent that went on into one half
        alone would say by staying that its key lies in the other.
        """
        upper = [prefix_of(entry.key, self.bits + 1) & 1 for entry in self.entries]
        if self.refused or (len(upper), sum(upper)) != (2 * LEAST_IN_BUCKET, LEAST_IN_BUCKET):
            return None
        if not all(_in_crowd(entry, now) for entry in self.entries):
            return None
        if len(_authentic(self.entries)) < len(self.entries):
            return None
        return min(entry.expires for entry in self.entries)


def _in_time(entry: ReadEntry, now: float) -> bool:
    try:
        entry.check_time(now)
    except PeerError:
        return False
    return True


def _in_crowd(entry: ReadEntry, now: float) -> bool:
    """Whether an honest contact point may have the entry, whose clock differs from ours, and the owner's from its.

    All that it has counts: at the change of periods half of a store expires at once, and who took it for gone before it
    was gone could bear out nothing.
    """
    try:
        entry.check_time(now - _LATER_GONE, ahead=_LATER_GONE + CLOCK_SKEW + PEER_SKEW)
    except PeerError:
        return False
    return True


def _authentic(entries: Iterable[ReadEntry]) -> list[ReadEntry]:
    good = []
    for entry in entries:
        try:
            entry.verify()
        except PeerError:
            continue
        good.append(entry)
    return good

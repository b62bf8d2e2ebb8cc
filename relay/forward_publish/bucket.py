"""What a client makes of a bucket: what it wanted, and whether it may name as many bits of a key again.

Everything here happens after the answer has come and says nothing to anybody: a lookup that finds something and one
that does not check the same number of signatures.

A contact point may say that its store is fuller than it is, to be told more of a key than leaves 64 entries to choose
from.  `KnownDepth` believes it one bit more than the last bucket makes likely, and goes back where a bucket holds
fewer.  Against a contact point that makes 64 entries up, and signs them, nothing of this helps: then it learns
the bits, and knows which of its own entries nobody wants.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from relay.core import Entropy, MisuseError, PeerError
from relay.forward_publish.answers import parse_slots
from relay.forward_publish.entries import (
    KEY_SIZE,
    LEAST_IN_BUCKET,
    MOST_PREFIX_BITS,
    EntryKind,
    ReadEntry,
    key_range,
    prefix_of,
)
from relay.forward_publish.parsers import EntryParsers
from relay.forward_publish.requests import Fetch

CHECKED = 16
"""Signatures that one look into a bucket checks.

Those of the wanted entries, and of others by lot, up to this number.  No honest contact point has an entry with a bad
signature, so that a single one is enough to believe it nothing: where fewer than half of a bucket are genuine, all of
16 are so once in 65,536 looks.  To check all 128 would take 16 ms instead of 2 and would not be worth more: whoever
lies can sign what it makes up as easily.
"""

MOST_PAGES = 16
"""Pages of one bucket that are worth fetching; an honest contact point's has one to three."""

_PARSERS = EntryParsers()
_SLACK_BITS = 1


@dataclass(frozen=True, slots=True)
class Look:
    """What was found in a bucket: authentic and in time.

    `confirmed`: the bucket holds at least 64 entries that could be the wanted one.
    """

    found: tuple[ReadEntry, ...] = field(repr=False)
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Bucket:
    """One page of a bucket, or all of them joined; `pages` and `depth` are what the contact point says.

    `entries` have the right form, lie under the prefix and come in the order of their keys; `refused` counts slots
    that do not.  Signatures and times are not checked yet: see `look` and `good`.
    """

    kind: EntryKind
    bits: int
    prefix: int = field(repr=False)
    entries: tuple[ReadEntry, ...] = field(repr=False)
    refused: int
    page: int
    pages: int
    depth: int

    @classmethod
    def parse(cls, answer: bytes, asked: Fetch, parsers: EntryParsers = _PARSERS) -> "Bucket":
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
            asked.page,
            heading.pages,
            heading.depth,
        )

    @classmethod
    def join(cls, pages: Sequence["Bucket"]) -> "Bucket":
        """All pages of a bucket, in their order, as one.

        What came or went between two answers may stand on two pages, or on none.
        """
        if not pages or {(one.kind, one.bits, one.prefix) for one in pages} != {
            (pages[0].kind, pages[0].bits, pages[0].prefix)
        }:
            raise MisuseError("pages of different buckets")
        entries = {entry.key: entry for one in pages for entry in one.entries}
        refused = sum(one.refused for one in pages)
        whole = tuple(entries[key] for key in sorted(entries))
        first, last = pages[0], pages[-1]
        # Joined, they are one page of one: with pages left to fetch it stays the first of several.
        left = 1 + max(0, last.pages - len(pages))
        return cls(first.kind, first.bits, first.prefix, whole, refused, 0, left, last.depth)

    @property
    def complete(self) -> bool:
        """Whether nothing of the prefix lies on another page."""
        return self.page == 0 and self.pages == 1

    def look(self, wanted: Collection[bytes], now: float, entropy: Entropy) -> Look:
        """The entries under the keys `wanted`, at Unix time `now`, in the order of these.

        Some others are checked as well, see `CHECKED`.
        """
        usable = {entry.key: entry for entry in self.entries if _in_time(entry, now)}
        mine = [usable[key] for key in wanted if key in usable]
        others = [entry for key, entry in usable.items() if key not in wanted]
        sample = entropy.draw(others, CHECKED - len(mine))
        found = tuple(_authentic(mine))
        honest = not self.refused and len(found) == len(mine) and len(_authentic(sample)) == len(sample)
        return Look(found, honest and len(usable) >= LEAST_IN_BUCKET)

    def good(self, now: float) -> tuple[ReadEntry, ...]:
        """All entries that are authentic and in time: for who wants everything, such as all listings."""
        return tuple(_authentic(entry for entry in self.entries if _in_time(entry, now)))

    @property
    def plausible_depth(self) -> int:
        """How many bits a key may be asked with, by how close together the entries lie here."""
        first, end = key_range(self.bits, self.prefix)
        if not self.complete and self.entries:
            end = self.entries[-1].key
        width = int.from_bytes(end) - int.from_bytes(first) + 1
        in_all = (len(self.entries) << (8 * KEY_SIZE)) // width
        return min(MOST_PREFIX_BITS, max(0, (in_all // LEAST_IN_BUCKET).bit_length() - 1 + _SLACK_BITS))

    def halves_are_full(self, now: float) -> bool:
        """Whether both halves of the bucket hold 64 entries, so that one more bit may be named."""
        if self.bits == MOST_PREFIX_BITS:
            return False
        usable = [entry for entry in self.entries if _in_time(entry, now)]
        upper = sum(prefix_of(entry.key, self.bits + 1) & 1 for entry in usable)
        return min(upper, len(usable) - upper) >= LEAST_IN_BUCKET


class KnownDepth:
    """How many bits of a key one contact point is told, for one kind; keep one for each.

    Begin with `probe`: a page that is asked for without a prefix, and so says nothing.
    """

    __slots__ = ("_bits", "_most")

    def __init__(self) -> None:
        self._bits = 0
        self._most = MOST_PREFIX_BITS

    @property
    def bits(self) -> int:
        """To ask with now."""
        return min(self._bits, self._most)

    def probe(self, bucket: Bucket) -> None:
        """Hear what a page says of the depth."""
        self._bits = min(bucket.depth, bucket.plausible_depth)

    def heard(self, bucket: Bucket, look: Look, now: float) -> None:
        """Remember what a whole bucket showed; `look` is what was seen in it."""
        if bucket.bits and not look.confirmed:
            self._most = min(self._most, bucket.bits - 1)
        elif look.confirmed and bucket.halves_are_full(now):
            self._most = max(self._most, bucket.bits + 1)
        self.probe(bucket)


def _in_time(entry: ReadEntry, now: float) -> bool:
    try:
        entry.check_time(now)
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

"""Contact points in memory, on virtual time: entries that are cheap to verify, pulls that take no time."""

import copy
import hashlib
import heapq
import hmac
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from relay.contact_cache.asks import (
    SHORT_KEY_SIZE,
    Ask,
    AskDigests,
    AskPeers,
    AskSummary,
    AskWanted,
    key_range,
)
from relay.contact_cache.digests import SetDigests, child_of, entry_digest
from relay.contact_cache.entry import Entry, Outcome, Row, Summary, short_hash
from relay.contact_cache.host_cache import ROUND, VISITORS, HostCache
from relay.contact_cache.pull_budget import PullBudget, places_left
from relay.contact_cache.synchronisation import PULL_COUNTS, Declined, Puller
from relay.core import Counters, Entropy, PeerError, SeededEntropy

KIND = 1
SKEW = 1800
ROOM = 100_000
_SECRET = b"stands for every owner's signing key"
_NUMBERS = 32 + 8 + 8


def make_entry(key: bytes, revision: int, expires: int, note: bytes = b"") -> Row:
    """An entry whose body verifies; nobody but its owner can make one, in the game that the tests play."""
    content = key + revision.to_bytes(8) + expires.to_bytes(8) + note.ljust(16, b"\0")
    return Row(KIND, key, revision, expires, content + hmac.digest(_SECRET, content, "sha256"))


def verify(kind: int, body: bytes, now: float) -> Entry:
    """The entry in a body.  Raises `PeerError`."""
    content, mac = body[:-32], body[-32:]
    if kind != KIND or len(body) != _NUMBERS + 16 + 32:
        raise PeerError("malformed")
    if not hmac.compare_digest(mac, hmac.digest(_SECRET, content, "sha256")):
        raise PeerError("forged")
    revision, expires = int.from_bytes(content[32:40]), int.from_bytes(content[40:48])
    if expires < now - SKEW:
        raise PeerError("expired")
    return Row(kind, content[:32], revision, expires, body)


class MemoryStore:
    """What `SqlEntryStore` does for one kind, without a disk."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Row] = {}
        self._keys: list[bytes] = []
        self._summaries: dict[bytes, Summary] = {}
        self._digests = SetDigests()
        self._counts = [0] * 4096
        self._soonest = float("inf")
        """Nothing expires before this."""
        self._children: list[tuple[bytes, int]] | None = None

    def put(self, entry: Entry) -> Outcome:
        old = self.rows.get(entry.key)
        if old is not None:
            if (old.revision, old.body) >= (entry.revision, entry.body):
                return Outcome.SAME if old.body == entry.body else Outcome.OLDER
            self._forget(old)
        self.rows[entry.key] = Row(entry.kind, entry.key, entry.revision, entry.expires, entry.body)
        insort(self._keys, entry.key)
        self._soonest = min(self._soonest, entry.expires)
        self._summaries[entry.key] = Summary(entry.key, entry.revision, short_hash(entry.body))
        self._counts[child_of(entry.key)] += 1
        self._children = None
        self._digests.add(child_of(entry.key), entry_digest(entry.key, entry.revision, entry.body))
        return Outcome.STORED

    def copy(self) -> Self:
        """Another store with the same entries."""
        other = copy.copy(self)
        other.rows, other._keys, other._counts = dict(self.rows), list(self._keys), list(self._counts)
        other._summaries, other._digests = dict(self._summaries), copy.deepcopy(self._digests)
        return other

    def expire(self, before: float) -> None:
        if before <= self._soonest:
            return
        self._soonest = min(
            (row.expires for row in self.rows.values() if row.expires >= before), default=before
        )
        for row in [row for row in self.rows.values() if row.expires < before]:
            self._forget(row)

    def digests(self) -> list[tuple[bytes, int]]:
        if self._children is None:
            self._children = list(zip(self._digests.digests(), self._counts, strict=True))
        return self._children

    def summaries(self, bits: int, prefix: int) -> list[Summary]:
        first, last = key_range(bits, prefix)
        keys = self._keys[bisect_left(self._keys, first) : bisect_right(self._keys, last)]
        return [self._summaries[key] for key in keys]

    def bodies(self, short_keys: Sequence[bytes]) -> list[bytes]:
        found = []
        for short in short_keys:
            at = bisect_left(self._keys, short)
            if at < len(self._keys) and self._keys[at][:SHORT_KEY_SIZE] == short:
                found.append(self.rows[self._keys[at]].body)
        return found

    def fingerprint(self) -> bytes:
        """The same for the same set, by other means than the digests under test."""
        return hashlib.sha256(b"".join(self.rows[key].body for key in self._keys)).digest()

    def _forget(self, row: Row) -> None:
        del self.rows[row.key], self._summaries[row.key]
        del self._keys[bisect_left(self._keys, row.key)]
        self._counts[child_of(row.key)] -= 1
        self._children = None
        self._digests.remove(child_of(row.key), entry_digest(row.key, row.revision, row.body))


class Point:
    """A contact point; `answer` is what a lying one overrides."""

    def __init__(self, onion: str, seeds: Sequence[str], budget: PullBudget, entropy: Entropy) -> None:
        self.onion = onion
        self.store = MemoryStore()
        self.hosts = HostCache(seeds, own=onion)
        self.budget = budget
        self.declined = Declined()
        self.counters = Counters(PULL_COUNTS)
        self.entropy = entropy
        self.room = ROOM
        self.brought: Counter[str] = Counter()
        """Keys that are here because a learned peer brought them; nothing expires where it is looked at."""
        self.asked: dict[str, list[float]] = {}
        """When each peer was asked, by its name."""

    def sweep(self, now: float) -> None:
        self.store.expire(now - SKEW)

    def answer(self, ask: Ask, asker: str, now: float) -> list[Any]:
        """What this point says to a question; the elements are as the question's."""
        match ask:
            case AskPeers():
                self.hosts.learn([asker], VISITORS, now)
                return self.hosts.known(self.entropy, now)
            case AskDigests():
                return self.store.digests()
            case AskSummary(_, bits, prefix, page):
                size = self.budget.page
                return self.store.summaries(bits, prefix)[page * size : (page + 1) * size]
            case AskWanted(_, keys):
                return self.store.bodies(keys)

    def pull(self, peer: "Point | None", onion: str, now: float) -> Puller:
        """One pull; `peer` is None where it cannot be reached."""
        self.asked.setdefault(onion, []).append(now)
        self.sweep(now)
        seed = self.hosts.is_seed(onion)
        before = len(self.store.rows)
        held, left = {KIND: before}, self.room - before
        if not seed:
            left = min(left, places_left(self.room, self.brought[onion], self.brought.total()))
        room = {KIND: max(0, left)}
        puller = Puller(verify, self.budget, held, room, self.declined, self.counters, self.entropy, now)
        while peer is not None and (ask := puller.next_ask(now)) is not None:
            self._take(puller, ask, peer.answer(ask, self.onion, now), now)
        self.hosts.learn(puller.names, onion, now)
        if not seed:
            self.brought[onion] += len(self.store.rows) - before
        self.hosts.note(onion, puller.outcome(silent=peer is None), now, self.entropy)
        return puller

    def _take(self, puller: Puller, ask: Ask, answer: list[Any], now: float) -> None:
        match ask:
            case AskPeers():
                puller.take_peers(answer)
            case AskDigests():
                puller.take_digests(ask, answer, self.store.digests())
            case AskSummary():
                puller.take_summary(ask, answer, self.store.summaries(ask.bits, ask.prefix))
            case AskWanted():
                puller.take_wanted(ask, answer, now)
                puller.settle([self.store.put(entry) for entry in puller.take_entries()])


def names(count: int, seed: str = "points") -> list[str]:
    """Onion names of the right form."""
    entropy = SeededEntropy(seed)
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    return ["".join(letters[byte % 32] for byte in entropy.token(56)) for _ in range(count)]


class Network:
    """Points that pull in rounds, each beginning its rounds at a time of its own."""

    def __init__(self, points: Sequence[Point], now: float, entropy: Entropy) -> None:
        self.now = now
        self.points = {point.onion: point for point in points}
        self.side: dict[str, int] = {}
        """Points on different sides do not reach each other; side -1 reaches nobody."""
        self._events: list[tuple[float, int, str, str]] = []
        self._publications: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        for point in points:
            self._plan(now + entropy.uniform(0.0, ROUND), point.onion, "")

    def at(self, when: float, publish: Callable[[], None]) -> None:
        """Have something published while time passes."""
        self._number += 1
        heapq.heappush(self._publications, (when, self._number, publish))

    def run(self, until: float) -> Iterator[tuple[Point, str, Puller]]:
        """Let time pass; each pull as it ends."""
        while self._events and self._events[0][0] <= until:
            self.now, _, puller, peer = heapq.heappop(self._events)
            for publish in self._due():
                publish()
            point = self.points[puller]
            if not peer:
                for pull in point.hosts.draw_round(self.now, point.entropy):
                    self._plan(pull.at, puller, pull.onion)
                self._plan(self.now + ROUND, puller, "")
            else:
                reached = self.points.get(peer) if self._connected(puller, peer) else None
                yield point, peer, point.pull(reached, peer, self.now)
        self.now = until
        for publish in self._due():
            publish()

    def pass_time(self, until: float) -> int:
        """The same where nobody looks; how many pulls."""
        return sum(1 for _ in self.run(until))

    def _due(self) -> Iterator[Callable[[], None]]:
        while self._publications and self._publications[0][0] <= self.now:
            yield heapq.heappop(self._publications)[2]

    def _connected(self, one: str, other: str) -> bool:
        sides = self.side.get(one, 0), self.side.get(other, 0)
        return sides[0] == sides[1] != -1

    def _plan(self, at: float, puller: str, peer: str) -> None:
        self._number += 1
        heapq.heappush(self._events, (at, self._number, puller, peer))

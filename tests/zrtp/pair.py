"""Two ends of ZRTP on a path in virtual time that delays, loses, doubles and reorders."""

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from relay.core import Entropy, ManualClock, SeededEntropy
from relay.zrtp import (
    Alarm,
    AlarmKind,
    Effect,
    Exchange,
    Expectation,
    Failed,
    Listening,
    MemoryZidCache,
    Secured,
    Send,
    Session,
    Settings,
    ZidCache,
)
from relay.zrtp.packet import crc32c

ALICE, BOB = b"alice's zid.", b"bob's own id"
Meddler = Callable[[str, bytes], list[bytes]]
"""Whoever sits on the path: (name of the sender, datagram) to what arrives in its place."""


@dataclass
class Party:
    """One end and all that it did."""

    name: str
    exchange: Exchange
    effects: list[Effect] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    done_at: float | None = None

    @property
    def secured(self) -> Secured:
        return next(effect for effect in self.effects if isinstance(effect, Secured))

    @property
    def is_secured(self) -> bool:
        return any(isinstance(effect, Secured) for effect in self.effects)

    @property
    def failed(self) -> Failed | None:
        return next((effect for effect in self.effects if isinstance(effect, Failed)), None)

    @property
    def alarms(self) -> list[AlarmKind]:
        return [effect.kind for effect in self.effects if isinstance(effect, Alarm)]

    @property
    def listening(self) -> Listening | None:
        return next((effect for effect in self.effects if isinstance(effect, Listening)), None)


@dataclass(frozen=True)
class Path:
    """One way, in seconds and shares of 1."""

    delay: float = 0.02
    jitter: float = 0.0
    loss: float = 0.0
    doubling: float = 0.0


class Pair:
    """A call between two ends.  `run` goes on until nothing is waited for, or `until`."""

    def __init__(
        self,
        alice: Exchange,
        bob: Exchange,
        *,
        path: Path | None = None,
        entropy: Entropy | None = None,
        meddler: Meddler | None = None,
    ) -> None:
        self.alice, self.bob = Party("alice", alice), Party("bob", bob)
        self._path = path or Path()
        self._entropy = entropy or SeededEntropy("path")
        self._meddler = meddler
        self._order = itertools.count()
        self._flying: list[tuple[float, int, Party, bytes]] = []
        self.now = 0.0

    @property
    def parties(self) -> tuple[Party, Party]:
        return self.alice, self.bob

    def other(self, party: Party) -> Party:
        return self.bob if party is self.alice else self.alice

    def run(self, until: float = 60.0, *, bob_later: float = 0.0) -> "Pair":
        starts: list[tuple[float, Party]] = [(self.now, self.alice), (self.now + bob_later, self.bob)]
        while True:
            times = [at for at, _ in starts] + [flight[0] for flight in self._flying[:1]]
            times += [at for party in self.parties if (at := party.exchange.deadline) is not None]
            if not times or min(times) > until:
                return self
            self.now = max(self.now, min(times))
            for start in [start for start in starts if start[0] <= self.now]:
                starts.remove(start)
                self.act(start[1], start[1].exchange.begin(self.now))
            while self._flying and self._flying[0][0] <= self.now:
                _, _, party, datagram = heapq.heappop(self._flying)
                self.act(party, party.exchange.receive(datagram, self.now))
            for party in self.parties:
                deadline = party.exchange.deadline
                if deadline is not None and deadline <= self.now:
                    self.act(party, party.exchange.due(self.now))

    def act(self, party: Party, effects: list[Effect]) -> None:
        """Do what one end wants."""
        for effect in effects:
            if isinstance(effect, Send):
                party.sent.append(effect.datagram)
                arriving = self._meddler(party.name, effect.datagram) if self._meddler else [effect.datagram]
                for datagram in arriving:
                    self._fly(self.other(party), datagram)
            else:
                party.effects.append(effect)
                if isinstance(effect, Secured | Failed) and party.done_at is None:
                    party.done_at = self.now

    def inject(self, party: Party, datagram: bytes) -> list[Effect]:
        """A datagram reaches `party` now; what it does about it."""
        effects = party.exchange.receive(datagram, self.now)
        self.act(party, effects)
        return effects

    def _fly(self, to: Party, datagram: bytes) -> None:
        chance = self._entropy.uniform
        for _ in range(2 if chance(0, 1) < self._path.doubling else 1):
            if chance(0, 1) >= self._path.loss:
                at = self.now + self._path.delay + chance(0, self._path.jitter)
                heapq.heappush(self._flying, (at, next(self._order), to, datagram))


@dataclass
class World:
    """What stays of two people from call to call."""

    seed: int | str = 0
    settings: tuple[Settings, Settings] = (Settings(), Settings())
    clock: ManualClock = field(default_factory=ManualClock)
    calls: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.caches: tuple[ZidCache, ZidCache] = (MemoryZidCache(self.clock), MemoryZidCache(self.clock))

    def exchanges(
        self,
        *,
        expectations: tuple[Expectation | None, Expectation | None] = (None, None),
        sessions: tuple[Session | None, Session | None] = (None, None),
        zids: tuple[bytes, bytes] = (ALICE, BOB),
    ) -> tuple[Exchange, Exchange]:
        """Fresh ones for the next call or stream."""
        number = next(self.calls)
        alice, bob = (
            Exchange(
                self.settings[who],
                1000 + 2 * number + who,
                zids[who],
                self.caches[who],
                SeededEntropy(f"{self.seed}/{number}/{who}"),
                expectation=expectations[who],
                session=sessions[who],
            )
            for who in (0, 1)
        )
        return alice, bob

    def call(self, *, path: Path | None = None, meddler: Meddler | None = None, until: float = 60.0) -> Pair:
        """A whole exchange, as far as it gets."""
        alice, bob = self.exchanges()
        entropy = SeededEntropy(f"{self.seed}/path")
        return Pair(alice, bob, path=path, entropy=entropy, meddler=meddler).run(until)

    def with_settings(self, alice: Settings, bob: Settings) -> "World":
        """The same two people, who changed their minds."""
        world = replace(self, settings=(alice, bob))
        world.caches = self.caches
        return world


def agree(pair: Pair) -> None:
    """Whatever two ends have to have in common, they have."""
    one, other = pair.alice.secured, pair.bob.secured
    assert one.role is not other.role
    assert one.suite == other.suite
    assert (one.send, one.receive) == (other.receive, other.send)
    assert one.send != one.receive
    assert one.sas == other.sas
    assert one.exported_key == other.exported_key
    assert one.session.key == other.session.key


def message_of(datagram: bytes) -> bytes:
    """The message in a packet."""
    return datagram[12:-4]


def kind_of(datagram: bytes) -> str:
    """Its type, without spaces."""
    return datagram[16:24].decode().strip()


def rewrapped(datagram: bytes, message: bytes) -> bytes:
    """The same packet around another message, with a checksum that is right."""
    body = datagram[:12] + message
    return body + crc32c(body).to_bytes(4, "little")


def from_party(party: Party, message: bytes) -> bytes:
    """A packet as `party` would send it."""
    return rewrapped(party.sent[0], message)

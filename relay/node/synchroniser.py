"""Pulling from other contact points over Tor, in rounds, each pull at a random time and on a circuit of its own.

The decisions are those of `relay.contact_cache`: whom to ask and how seldom (`HostCache`), what to ask and when to stop
(`Puller`).  Here are streams, files and the clock.  Nothing that names a peer is logged; counts are.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from relay.contact_cache import (
    PULL_COUNTS,
    ROUND,
    VISITORS,
    Declined,
    Entry,
    HostCache,
    Outcome,
    PlannedPull,
    PullBudget,
    Puller,
    SqlEntryStore,
)
from relay.core import Clock, Counters, Entropy, PeerError, TransportUnavailable, get_logger, replace_private
from relay.forward_publish import CLOCK_SKEW, ContactPointLimits, EntryKind, EntryParsers
from relay.node.peer_stream import PeerSilent, PeerStream
from relay.wire import OnionDialer

SYNCHRONISER_COUNTS = (*PULL_COUNTS, "pulls planned", "names learned", "pulls failed here")

FIRST_ROUND = 300.0
"""Seconds over which the first pulls after a start are spread: what was missed is wanted soon."""

MOST_AT_ONCE = 4
"""Pulls that run at the same time, so that one that stalls holds up no other."""

HOSTS_FILE = "peers.known"

log = get_logger("contact-point")


class Synchroniser:
    """Keeps a store in step with those of other contact points."""

    def __init__(
        self,
        store: SqlEntryStore,
        parsers: EntryParsers,
        limits: ContactPointLimits,
        seeds: Sequence[str],
        own: str,
        directory: Path,
        dialer: OnionDialer,
        clock: Clock,
        entropy: Entropy,
        counters: Counters,
    ) -> None:
        """`own` is this point's onion name; `counters` knows at least the names in `SYNCHRONISER_COUNTS`."""
        self._store = store
        self._parsers = parsers
        self._limits = limits
        self._own = own
        self._path = directory / HOSTS_FILE
        self._dialer = dialer
        self._clock = clock
        self._entropy = entropy
        self._counters = counters
        self._hosts = _remembered(self._path, seeds, own)
        self._declined = Declined()
        self._budget = PullBudget()
        self._pulling: set[str] = set()
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    def names(self, visitor: str, now: float) -> Sequence[str]:
        """Contact points to tell a visitor of, who may have given its own name (`PeerNames`)."""
        if visitor:
            self._learn([visitor], VISITORS, now)
        return self._hosts.known(self._entropy, now)

    async def run(self) -> None:
        """Pull, round after round, until cancelled."""
        length = FIRST_ROUND
        async with asyncio.TaskGroup() as pulls:
            while True:
                wall = self._clock.wall()
                for pull in self._hosts.draw_round(wall, self._entropy):
                    self._counters.count("pulls planned")
                    pulls.create_task(self._wait_and_pull(pull, (pull.at - wall) * length / ROUND))
                await asyncio.sleep(length)
                length = ROUND

    async def pull(self, onion: str) -> None:
        """Pull from one contact point now.  Raises `TransportUnavailable` where our own store fails."""
        learned = "" if self._hosts.is_seed(onion) else onion
        puller = await self._puller(learned)
        silent, circuit = False, self._entropy.token(8).hex()
        stream = PeerStream(self._dialer, onion, self._own, circuit)
        try:
            while (ask := puller.next_ask(self._clock.monotonic())) is not None:
                await stream.put(puller, ask, self._store, self._clock.wall())
                if entries := puller.take_entries():
                    puller.settle(await self._keep(entries, learned))
        except PeerError:
            puller.broke()
        except PeerSilent:
            silent = True
        finally:
            stream.close()
        self._note(onion, puller, silent=silent)

    async def _wait_and_pull(self, planned: PlannedPull, delay: float) -> None:
        await asyncio.sleep(delay)
        if planned.onion in self._pulling:
            return
        self._pulling.add(planned.onion)
        try:
            async with self._places:
                await self.pull(planned.onion)
            self._remember()
        except TransportUnavailable:
            self._counters.count("pulls failed here")
        except Exception as error:  # a bug of ours must neither end all pulls nor show what was received
            self._counters.count("pulls failed here")
            log.error("a pull failed", kind=type(error).__name__)
        finally:
            self._pulling.discard(planned.onion)

    async def _puller(self, learned: str) -> Puller:
        before = self._clock.wall() - CLOCK_SKEW
        await self._store.expire(before)
        kinds = self._parsers.kinds
        held = {int(kind): await self._store.count(kind) for kind in kinds}
        room = {
            int(kind): await self._store.places(kind, self._limits.entries(kind), learned, before)
            for kind in kinds
        }
        return Puller(
            self._parsers.verify,
            self._budget,
            held,
            room,
            self._declined,
            self._counters,
            self._entropy,
            self._clock.monotonic(),
        )

    async def _keep(self, entries: Sequence[Entry], learned: str) -> list[Outcome | None]:
        """Store what is news; None for what there is no room for.  What is there may always be replaced."""
        room = self._limits.entries(EntryKind(entries[0].kind))
        return await self._store.bring(entries, room, learned, self._clock.wall() - CLOCK_SKEW)

    def _note(self, onion: str, puller: Puller, *, silent: bool) -> None:
        now = self._clock.wall()
        self._learn(puller.names, onion, now)
        self._hosts.note(onion, puller.outcome(silent=silent), now, self._entropy)

    def _learn(self, names: Sequence[str], teller: str, now: float) -> None:
        self._counters.count("names learned", self._hosts.learn(names, teller, now))

    def _remember(self) -> None:
        """A disk that does not take it costs names, and nothing else."""
        try:
            replace_private(self._path, self._hosts.to_bytes())
        except OSError:
            log.warning("the names of other contact points could not be written; look at the disk")


def _remembered(path: Path, seeds: Sequence[str], own: str) -> HostCache:
    try:
        return HostCache.from_bytes(path.read_bytes(), seeds, own=own)
    except FileNotFoundError:
        pass
    except (OSError, PeerError):
        log.warning("the names of other contact points cannot be read; starting from the configured ones")
    return HostCache(seeds, own=own)

"""Finding and being found: publishes what the contact book says, looks contacts up, on a schedule of its own.

Never at call time: when somebody dials, everything needed is here already (DESIGN.md section 4, "find"), and what was
found in an earlier run is good until it is stale.  Each record goes out, and each contact is looked up, at times of
its own, so that a contact point cannot tell which records have one owner.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from relay.agent.contact_file import Contact, Whereabouts
from relay.agent.contacts import ContactBook
from relay.agent.events import Reporter
from relay.agent.introducing import Introducer
from relay.agent.kept import NotKept
from relay.agent.lookups import Lookups, LookupTimes, RecordSource, where_to_ask
from relay.agent.prekeys import PrekeyRing
from relay.agent.publications import Publication, publications
from relay.agent.publishing import Publisher, RecordTarget, Sealer
from relay.agent.surroundings import Messenger
from relay.core import BayonneError, Clock, Entropy, get_logger
from relay.forward_publish import PERIOD, RecordUse, current_period
from relay.identity import Identity

NOTICE_EVERY = 1.0
"""How often the contact list is looked at for people who came or went."""
LONGEST_SLEEP = 60.0

Job = Callable[[], Coroutine[None, None, None]]

_log = get_logger("reachability")


class Directory(RecordSource, RecordTarget, Protocol):
    """The record port of contact points, both ways."""


class Reachability:
    """One task for everything that has times of its own; tasks come and go with the contact book."""

    def __init__(
        self,
        identity: Identity,
        book: ContactBook,
        prekeys: PrekeyRing,
        directory: Directory,
        messenger: Messenger,
        contact_points: tuple[str, ...],
        *,
        clock: Clock,
        entropy: Entropy,
        report: Reporter,
    ) -> None:
        self._identity = identity
        self._book = book
        self._prekeys = prekeys
        self._directory = directory
        self._messenger = messenger
        self._contact_points = contact_points
        self._clock = clock
        self._entropy = entropy
        self._report = report
        self._lookups = Lookups(directory, clock)
        self._introducer = Introducer(
            identity,
            book,
            prekeys,
            self._lookups,
            messenger,
            contact_points,
            clock=clock,
            entropy=entropy,
            report=report,
        )
        self._ready: set[str] = set()
        self._out: dict[str, Publication] = {}
        self._sealers: dict[str, Sealer] = {}

    async def run(self) -> None:
        """Until cancelled."""
        tasks: dict[str, asyncio.Task[None]] = {}
        wanted: dict[str, Job] = {}
        seen, again_at = -1, 0.0
        async with asyncio.TaskGroup() as group:
            while True:
                now, wall = self._clock.monotonic(), self._clock.wall()
                if self._book.version != seen or now >= again_at:
                    # On a full disk what expired is marked later: its time says the same.
                    with suppress(NotKept):
                        self._book.settle(wall)
                    seen, again_at = self._book.version, now + LONGEST_SLEEP
                    wanted = self._jobs(wall)
                    self._tell_who_is_ready(wall)
                for name in tasks.keys() - wanted.keys():
                    tasks.pop(name).cancel()
                for name, job in wanted.items():
                    if name not in tasks or tasks[name].done():
                        tasks[name] = group.create_task(self._try(job))
                await asyncio.sleep(NOTICE_EVERY)

    async def _try(self, job: Job) -> None:
        """Do it; where what came of it could not be kept, it is begun anew some time later."""
        try:
            await job()
        except NotKept:
            await asyncio.sleep(self._entropy.uniform(0.5, 1.0) * LONGEST_SLEEP)

    def _jobs(self, wall: float) -> dict[str, Job]:
        """Everything that is to go on now, by a name of its own."""
        jobs: dict[str, Job] = {}
        self._out = {publication.name: publication for publication in publications(self._book, wall)}
        self._sealers = {
            name: self._sealers.get(name) or Sealer(self._identity, self._prekeys, self._entropy)
            for name in self._out
        }
        for name in self._out:
            for onion in self._contact_points:
                jobs[f"{name} at {onion}"] = partial(self._publish, name, onion)
        for contact in self._book:
            if contact.blocked:
                continue
            if contact.introducing is None:
                jobs[f"look {contact.id}"] = partial(self._look_up, contact.id)
            elif not contact.introducing.is_over:
                jobs[f"introduce {contact.id}"] = partial(self._introduce, contact.id)
        return jobs

    def _tell_who_is_ready(self, wall: float) -> None:
        for contact in self._book:
            if contact.id not in self._ready and contact.callable_at(wall):
                self._ready.add(contact.id)
                self._report("contact-ready", contact=contact.name)

    async def _publish(self, name: str, onion: str) -> None:
        publisher = Publisher(
            onion,
            self._contact_points,
            lambda: self._out.get(name),
            self._sealers[name],
            self._directory,
            self._messenger.bound,
            self._clock,
            self._entropy,
        )
        await publisher.run()

    async def _introduce(self, identifier: str) -> None:
        while (contact := self._book.get(identifier)) is not None and contact.introducing is not None:
            if contact.introducing.is_over:
                return
            await asyncio.sleep(await self._introducer.step(contact))

    async def _look_up(self, identifier: str) -> None:
        contact = self._book.get(identifier)
        if contact is None:
            return
        now, wall = self._clock.monotonic(), self._clock.wall()
        known = contact.whereabouts
        found_before = known is not None and known.revision > 0
        times = LookupTimes(self._entropy, now, _ends_in(contact, wall) if found_before else None)
        while (contact := self._book.get(identifier)) is not None:
            now = self._clock.monotonic()
            if (wait := times.wait(now)) > 0.0:
                await asyncio.sleep(min(wait, LONGEST_SLEEP))
                continue
            await self._look(contact, times)

    async def _look(self, contact: Contact, times: LookupTimes) -> None:
        known = contact.whereabouts
        points = where_to_ask(contact, self._contact_points, self._clock.wall(), self._entropy)
        try:
            found = await self._lookups.find(
                contact.public_key,
                [contact.secret],
                points,
                above=known.revision if known is not None else -1,
            )
        except BayonneError as error:
            _log.debug("a lookup has to wait", why=str(error))
            times.nothing(self._clock.monotonic())
            return
        now, wall = self._clock.monotonic(), self._clock.wall()
        if found is not None and found.record.use is RecordUse.PAIRWISE:
            place = Whereabouts.of_record(found.record, found.period, wall)
            for minute in self._book.found(contact, place, told=found.record.missed, wall=wall):
                self._report("missed-call", contact=contact.name, when=written(minute), minute=minute)
            times.found(now, (found.period + 1) * PERIOD - wall)
        elif known is not None and known.revision > 0 and known.period >= current_period(wall):
            times.found(now, _ends_in(contact, wall))
        else:
            times.nothing(now)


def written(minute: int) -> str:
    """A Unix minute as people write it, in this machine's time zone."""
    return datetime.fromtimestamp(60 * minute, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _ends_in(contact: Contact, wall: float) -> float:
    """Seconds until the period of a contact's whereabouts ends."""
    period = contact.whereabouts.period if contact.whereabouts is not None else current_period(wall)
    return max(0.0, (period + 1) * PERIOD - wall)

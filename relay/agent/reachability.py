"""Finding and being found: publishes this agent's records, looks up those of its contacts, on a schedule of its own.

Never at call time: when somebody dials, everything needed is here already (DESIGN.md section 4, "find").  Each
contact's record goes out at times of its own, so that a contact point cannot tell which records have one owner.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.agent.contacts import Contact, ContactBook, Whereabouts
from relay.agent.events import Reporter
from relay.agent.prekeys import PrekeyRing
from relay.core import BayonneError, Clock, Entropy, PeerError, TransportUnavailable, get_logger
from relay.forward_publish import (
    ContactRecord,
    Peer,
    PublicationTimes,
    ReachableAt,
    StoredRecord,
    coarse_revision,
    current_period,
    latest_expiry,
    lookup_periods,
    newest_first,
    open_record,
    record_key,
    seal_record,
)
from relay.forward_publish.publication import EVERY
from relay.identity import Identity

PUBLISH_EVERY = EVERY
LOOK_EVERY = 1800.0
RETRY_FIRST = 1.0
RETRY_LAST = 120.0
NOTICE_EVERY = 1.0
"""How often the contact list is looked at for people who came or went."""
IDLE = (30.0, 90.0)
"""Between two looks at what is due for one contact, when all is well."""
TRIES = 3
"""How often a contact point is offered a record at once that it does not take."""
MOST_STEPS = 4096

_log = get_logger("reachability")


class Directory(Protocol):
    """The record port of a contact point."""

    async def put(self, onion: str, record: StoredRecord) -> bool:
        """True when it was taken.  Raises `TransportUnavailable`, `PeerError`."""
        ...

    async def fetch(self, onion: str, key: bytes) -> Sequence[StoredRecord]:
        """The records under `key` among those of its bucket.  Raises `TransportUnavailable`, `PeerError`."""
        ...


@dataclass(slots=True)
class _Schedule:
    """When which part of one contact is due; moments in the monotonic clock."""

    publication: PublicationTimes
    look_at: float = 0.0
    ready: bool = False
    failed: bool = False
    retry: float = RETRY_FIRST
    step: int = 0
    """Beyond the hour's own revision; more than 0 while a contact point holds that one already."""


class Reachability:
    """One task for every contact; `bound` says whether our token for that contact is taken up at our contact point."""

    def __init__(
        self,
        identity: Identity,
        book: ContactBook,
        prekeys: PrekeyRing,
        directory: Directory,
        contact_points: tuple[str, ...],
        *,
        bound: Callable[[str], bool],
        clock: Clock,
        entropy: Entropy,
        report: Reporter,
    ) -> None:
        self._identity = identity
        self._book = book
        self._prekeys = prekeys
        self._directory = directory
        self._contact_points = contact_points
        self._bound = bound
        self._clock = clock
        self._entropy = entropy
        self._report = report

    async def run(self) -> None:
        """Until cancelled."""
        tasks: dict[bytes, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                present = {contact.secret for contact in self._book}
                for secret in present - {secret for secret, task in tasks.items() if not task.done()}:
                    tasks[secret] = group.create_task(self._keep(secret))
                for secret in tasks.keys() - present:
                    tasks.pop(secret).cancel()
                await asyncio.sleep(NOTICE_EVERY)

    async def _keep(self, secret: bytes) -> None:
        """One contact, until it is removed.  What a look finds is acted on at once: an inviter learns from the first
        record whom to publish its own for."""
        schedule: _Schedule | None = None
        while (contact := self._current(secret)) is not None:
            schedule = schedule or self._schedule(contact)
            try:
                await self._step(contact, schedule)
                schedule.failed, schedule.retry = False, RETRY_FIRST
            except BayonneError as error:
                _log.debug("a contact's records have to wait", why=str(error))
                schedule.failed, schedule.retry = True, min(1.2 * schedule.retry, RETRY_LAST)
            await asyncio.sleep(self._pause(schedule))

    def _schedule(self, contact: Contact) -> _Schedule:
        period = current_period(self._clock.wall())
        known = contact.whereabouts is not None
        return _Schedule(PublicationTimes(self._entropy, self._clock.monotonic(), period, known=known))

    def _pause(self, schedule: _Schedule) -> float:
        if schedule.failed or not schedule.ready:
            # What fails for all contacts at once must not succeed for all at once.
            return self._entropy.uniform(0.5, 1.0) * schedule.retry
        idle = self._entropy.uniform(*IDLE)
        if schedule.publication.published:
            return idle
        return min(idle, max(RETRY_FIRST, schedule.publication.wait(self._clock.monotonic())))

    async def _step(self, contact: Contact, schedule: "_Schedule") -> None:
        await self._publish_if_due(contact, schedule)
        now = self._clock.monotonic()
        if now >= schedule.look_at:
            found = await self._look(contact)
            schedule.look_at = now + self._entropy.uniform(0.5, 1.0) * LOOK_EVERY
            if not schedule.ready:
                schedule.ready = True
                self._report("contact-ready", contact=contact.name)
            await self._publish_if_due(found, schedule)

    async def _publish_if_due(self, contact: Contact, schedule: "_Schedule") -> None:
        now, wall = self._clock.monotonic(), self._clock.wall()
        if not schedule.publication.due(now, current_period(wall)):
            return
        if contact.public_key and self._bound(contact.token.token):
            await self._publish(contact, schedule, wall)
            schedule.publication.done(now)
        else:
            schedule.publication.postpone(now)

    def _current(self, secret: bytes) -> Contact | None:
        return next((contact for contact in self._book if contact.secret == secret), None)

    async def _publish(self, contact: Contact, schedule: "_Schedule", wall: float) -> None:
        """To all of the contact's contact points; one that refuses is offered a higher revision."""
        taken, refusing = False, list(contact.contact_points)
        for _ in range(TRIES):
            stored = self._seal(contact, wall, schedule.step)
            asked, refusing = refusing, []
            for onion in asked:
                try:
                    if await self._directory.put(onion, stored):
                        taken = True
                    else:
                        refusing.append(onion)
                except (TransportUnavailable, PeerError) as error:
                    _log.debug("a contact point is passed over", why=str(error))
            if not refusing:
                break
            schedule.step = min(2 * schedule.step + 1, MOST_STEPS)
        if not taken:
            raise TransportUnavailable("no contact point took the record")
        schedule.step = 0

    def _seal(self, contact: Contact, wall: float, step: int) -> StoredRecord:
        period = current_period(wall)
        record = ContactRecord(
            identity=self._identity.public_key,
            reachable_at=(ReachableAt(self._contact_points[0], contact.token.token),),
            prekey=self._prekeys.current(wall).public,
            revision=coarse_revision(wall, step),
            expires=latest_expiry(period),
        )
        peer = Peer(contact.public_key, contact.secret)
        return seal_record(record, self._identity, peer, contact.role, period, self._entropy)

    async def _look(self, contact: Contact) -> Contact:
        wall = self._clock.wall()
        for onion in contact.contact_points:
            for period in lookup_periods(wall):
                try:
                    key = record_key(contact.secret, contact.role.other, period)
                    found = await self._directory.fetch(onion, key)
                except (TransportUnavailable, PeerError) as error:
                    _log.debug("a contact point is passed over", why=str(error))
                    break
                for stored in newest_first(found):
                    try:
                        record = self._open(stored, contact, wall)
                    except PeerError as error:
                        _log.info("a record was dropped", why=error.reason)
                        continue
                    place = record.reachable_at[0]
                    whereabouts = Whereabouts(
                        place.onion, place.token, record.prekey, record.revision, record.expires
                    )
                    return self._book.found(contact, record.identity, whereabouts)
        raise PeerError("no record yet")

    def _open(self, stored: StoredRecord, contact: Contact, wall: float) -> ContactRecord:
        return open_record(
            stored,
            self._identity,
            contact.secret,
            contact.role.other,
            expected_identity=contact.public_key or None,
            now=wall,
            newest_revision=contact.whereabouts.revision if contact.whereabouts is not None else -1,
        )

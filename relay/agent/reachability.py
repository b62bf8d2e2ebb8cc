"""Finding and being found: publishes this agent's records, looks up those of its contacts, on a schedule of its own.

Never at call time: when somebody dials, everything needed is here already (DESIGN.md section 4, "find").
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
    PERIOD,
    ContactRecord,
    Peer,
    ReachableAt,
    StoredRecord,
    current_period,
    lookup_periods,
    newest_first,
    open_record,
    record_key,
    seal_record,
)
from relay.identity import Identity

PUBLISH_EVERY = 6 * 3600.0
LOOK_EVERY = 1800.0
RETRY_FIRST = 1.0
RETRY_LAST = 120.0
NOTICE_EVERY = 1.0
"""How often the contact list is looked at for people who came or went."""
RECORD_LIFE = 2 * 86400

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

    publish_at: float = 0.0
    published_for: int = -1
    look_at: float = 0.0
    ready: bool = False
    retry: float = RETRY_FIRST


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
        schedule = _Schedule()
        while (contact := self._current(secret)) is not None:
            try:
                await self._step(contact, schedule)
                schedule.retry = RETRY_FIRST
            except BayonneError as error:
                _log.debug("a contact's records have to wait", why=str(error))
                schedule.retry = min(1.2 * schedule.retry, RETRY_LAST)
            settled = schedule.ready and schedule.published_for >= 0
            await asyncio.sleep(self._entropy.uniform(30.0, 90.0) if settled else schedule.retry)

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
        now = self._clock.monotonic()
        period = current_period(self._clock.wall())
        due = now >= schedule.publish_at or period != schedule.published_for
        if due and contact.public_key and self._bound(contact.token.token):
            await self._publish(contact, period)
            schedule.publish_at = now + self._entropy.uniform(0.5, 1.0) * PUBLISH_EVERY
            schedule.published_for = period

    def _current(self, secret: bytes) -> Contact | None:
        return next((contact for contact in self._book if contact.secret == secret), None)

    async def _publish(self, contact: Contact, period: int) -> None:
        wall = self._clock.wall()
        record = ContactRecord(
            identity=self._identity.public_key,
            reachable_at=(ReachableAt(self._contact_points[0], contact.token.token),),
            prekey=self._prekeys.current(wall).public,
            revision=int(wall),
            expires=min(int(wall) + RECORD_LIFE, (period + 2) * PERIOD),
        )
        peer = Peer(contact.public_key, contact.secret)
        stored = seal_record(record, self._identity, peer, contact.role, period, self._entropy)
        taken = False
        for onion in contact.contact_points:
            try:
                taken = await self._directory.put(onion, stored) or taken
            except (TransportUnavailable, PeerError) as error:
                _log.debug("a contact point is passed over", why=str(error))
        if not taken:
            raise TransportUnavailable("no contact point took the record")

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

"""The invitee's end: following an invitation, or a listing, to somebody who does not know us yet.

The inviter's record says where an introduction goes.  It is sent again, at growing random intervals, until the
inviter's pairwise record is found: nothing else says that it arrived, but that the invitation's record may name us as
those who used it.  Each proposes the same secret, so that one lookup finds that record, however long ago the
introduction was that the inviter took.
"""

import hmac
import math
from collections.abc import Iterable
from dataclasses import dataclass

from relay.agent.contact_file import Contact, Introducing, Whereabouts, reachable_at
from relay.agent.contacts import ContactBook
from relay.agent.delivery import first_that_takes
from relay.agent.events import Reporter
from relay.agent.invitations import why_not_yet
from relay.agent.lookups import FIRST_RETRY_GROWS, Found, Lookups
from relay.agent.prekeys import PrekeyRing
from relay.agent.surroundings import Messenger
from relay.core import BayonneError, Clock, Entropy, TransportUnavailable, get_logger
from relay.forward_publish import (
    ContactRecord,
    Introduction,
    ReachableAt,
    RecordStatus,
    RecordUse,
    current_period,
    proposed_secret,
    seal_introduction,
    taken_by,
)
from relay.identity import Identity

FIRST_PAUSE = 1.0
"""Seconds after which the first look at what came of it is taken; each pause is longer than the last."""
LONGEST_PAUSE = 4 * 3600.0
RESEND = 60.0
"""Seconds after which an introduction is sent again for the first time; then twice as many, and so on."""
LONGEST_RESEND = 12 * 3600.0

_log = get_logger("introducing")


@dataclass(slots=True)
class _Progress:
    pause: float = FIRST_PAUSE
    resend: float = RESEND
    send_at: float = 0.0
    told: bool = False


class Introducer:
    """Takes one step for one contact at a time."""

    def __init__(
        self,
        identity: Identity,
        book: ContactBook,
        prekeys: PrekeyRing,
        lookups: Lookups,
        messenger: Messenger,
        contact_points: Iterable[str],
        *,
        clock: Clock,
        entropy: Entropy,
        report: Reporter,
    ) -> None:
        self._identity = identity
        self._book = book
        self._prekeys = prekeys
        self._lookups = lookups
        self._messenger = messenger
        self._contact_points = tuple(contact_points)
        self._clock = clock
        self._entropy = entropy
        self._report = report
        self._progress: dict[str, _Progress] = {}

    async def step(self, contact: Contact) -> float:
        """Do for `contact` what is to be done now; returns the seconds until the next step."""
        progress = self._progress.setdefault(contact.id, _Progress())
        try:
            if await self._arrived(contact):
                return 0.0
            still_open = contact.introducing is not None and contact.introducing.refused is RecordStatus.OPEN
            if still_open and self._clock.monotonic() >= progress.send_at:
                await self._introduce(contact, progress)
        except BayonneError as error:
            _log.debug("an introduction has to wait", why=str(error))
        pause = self._entropy.uniform(0.6, 1.0) * progress.pause
        progress.pause = min(FIRST_RETRY_GROWS * progress.pause, LONGEST_PAUSE)
        return pause

    async def _arrived(self, contact: Contact) -> bool:
        """Whether the inviter took one of our introductions, as its pairwise record says."""
        state = contact.introducing
        if state is None:
            return True
        if not state.random:
            return False
        found = await self._lookups.find(contact.public_key, [self._proposed(contact, state)], contact.home)
        if found is None or found.record.use is not RecordUse.PAIRWISE:
            return False
        wall = self._clock.wall()
        self._book.confirmed(contact, found.secret, wall)
        self._book.found(contact, Whereabouts.of_record(found.record, found.period, wall))
        self._progress.pop(contact.id, None)
        return True

    async def _introduce(self, contact: Contact, progress: _Progress) -> None:
        """Look at the invitation's record, and introduce ourselves where it says."""
        state = contact.introducing
        assert state is not None
        wall = self._clock.wall()
        found = await self._lookups.find(contact.public_key, [state.secret], contact.home)
        status = _status(found, state.expires, wall)
        if found is not None and self._was_us(contact, state, found.record):
            progress.send_at = math.inf  # they know us: their record for us is all that there is to wait for
            return
        if status is not RecordStatus.OPEN:
            self._book.turned_away(contact, status)
            self._tell("too-late", contact)
            return
        self._book.looked(contact, there=found is not None, wall=wall)
        if found is None:
            progress.told = progress.told or self._tell("inviter-silent", contact)
            return
        progress.told = False
        reachable = self._reachable(contact, wall)
        if not reachable:
            raise TransportUnavailable("no contact point of ours is reached yet")
        await self._send(contact, state, found.record, reachable)
        now = self._clock.monotonic()
        progress.pause = FIRST_PAUSE
        progress.send_at = now + self._entropy.uniform(0.7, 1.3) * progress.resend
        progress.resend = min(2 * progress.resend, LONGEST_RESEND)

    async def _send(
        self,
        contact: Contact,
        state: Introducing,
        record: ContactRecord,
        reachable: tuple[ReachableAt, ...],
    ) -> None:
        # Kept before it is out: once it is, it may have been taken.
        random = self._book.introduced_with(contact, self._entropy)
        if random is None:
            return
        said = Introduction(state.own_name, reachable, self._prekeys.current(self._clock.wall()).public)
        body = seal_introduction(
            self._identity, contact.public_key, state.secret, record.prekey, said, random, self._clock
        )
        await first_that_takes(
            [(place.onion_name, place.token_name) for place in record.reachable_at],
            body,
            self._messenger.send,
        )

    def _reachable(self, contact: Contact, wall: float) -> tuple[ReachableAt, ...]:
        """Where the answer of the inviter's agent, and its rings, can reach us now."""
        period = current_period(wall)
        keys = ((onion, contact.token(onion, period)) for onion in self._contact_points)
        return tuple(
            reachable_at(onion, key) for onion, key in keys if self._messenger.bound(onion, key.token)
        )

    def _tell(self, event: str, contact: Contact) -> bool:
        """Tell our owner what is wrong, where something is."""
        known = self._book.get(contact.id)
        if known is None or known.introducing is None:
            return False
        reason = why_not_yet(known.introducing, self._clock.wall())
        if reason:
            self._report(event, contact=contact.name, reason=reason)
        return bool(reason)

    def _proposed(self, contact: Contact, state: Introducing) -> bytes:
        return proposed_secret(self._identity, contact.public_key, state.secret, state.random)

    def _was_us(self, contact: Contact, state: Introducing, record: ContactRecord) -> bool:
        """Whether the record of an invitation that was used says that we used it."""
        if record.status is not RecordStatus.USED or not state.random:
            return False
        return hmac.compare_digest(record.taken_by, taken_by(self._proposed(contact, state)))


def _status(found: Found | None, expires: int, wall: float) -> RecordStatus:
    if found is not None and found.record.use is not RecordUse.PAIRWISE:
        return found.record.status
    expired = bool(expires) and wall >= expires
    return RecordStatus.EXPIRED if expired else RecordStatus.OPEN

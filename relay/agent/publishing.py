"""Puts one publication out at one contact point, over and over, at times that are its own.

Nothing here happens for two publications, or at two contact points, at once: whoever sees several of them cannot tell
by their times that they have one owner.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from relay.agent.missed import soon
from relay.agent.prekeys import PrekeyRing
from relay.agent.publications import Content, Publication, Published
from relay.core import BayonneError, Clock, Entropy, TransportUnavailable, get_logger
from relay.forward_publish import PublicationTimes, ReachableAt, coarse_revision, current_period
from relay.identity import Identity

RETRY_FIRST = 1.0
RETRY_LAST = 300.0
IDLE = (30.0, 90.0)
"""Seconds between two looks at what is due, when all is well."""
TRIES = 3
"""How often a contact point is offered a record at once that it does not take."""
MOST_STEPS = 4096
SAME_FOR = 2 * 3600.0
"""Seconds for which further contact points get the very same record, which is then as new everywhere."""

_log = get_logger("publishing")


class RecordTarget(Protocol):
    """The record port of contact points."""

    async def put(self, onion: str, entry: Published) -> bool:
        """False where something newer is there already.  Raises `TransportUnavailable`."""
        ...


@dataclass(slots=True)
class _Sealed:
    entry: Published
    content: Content
    prekey: bytes
    made_at: float


@dataclass(slots=True)
class Sealer:
    """Seals one publication for all contact points; each revision is higher than the last."""

    me: Identity
    prekeys: PrekeyRing
    entropy: Entropy
    _last: _Sealed | None = None
    _revision: int = -1

    def seal(self, publication: Publication, content: Content, wall: float, step: int) -> Published:
        """`step` is 0, or more where a contact point holds something newer than what it was offered."""
        prekey, last = self.prekeys.current(wall).public, self._last
        period = current_period(wall)
        if (
            last is not None
            and not step
            and (last.entry.period, last.content, last.prekey) == (period, content, prekey)
            and 0 <= wall - last.made_at < SAME_FOR
        ):
            return last.entry
        self._revision = max(coarse_revision(wall, step), self._revision + 1)
        entry = publication.seal(content, self.me, prekey, period, self._revision, self.entropy)
        self._last = _Sealed(entry, content, prekey, wall)
        return entry


@dataclass(slots=True)
class Publisher:
    """One publication at one contact point.

    `current` gives the publication as it is now, None once it is to be out no longer.  `bound` says whether a token
    of ours is taken up at a contact point.  `onions` are all of our contact points, `onion` is the one to publish at.
    """

    onion: str
    onions: Sequence[str]
    current: Callable[[], Publication | None]
    sealer: Sealer
    target: RecordTarget
    bound: Callable[[str, str], bool]
    clock: Clock
    entropy: Entropy
    _said: Content | None = None
    _said_in: int = -1
    _hastened: float | None = None
    _retry: float = RETRY_FIRST
    _failed: bool = False
    _step: int = 0
    _times: PublicationTimes | None = field(default=None)

    async def run(self) -> None:
        """Until there is nothing to publish any more."""
        while (publication := self.current()) is not None:
            try:
                await self._publish_if_due(publication)
                self._failed, self._retry = False, RETRY_FIRST
            except BayonneError as error:
                _log.debug("a record has to wait", why=str(error))
                self._failed, self._retry = True, min(1.5 * self._retry, RETRY_LAST)
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        if self._failed:
            # What fails for all records at once must not succeed for all at once.
            return self.entropy.uniform(0.5, 1.0) * self._retry
        idle = self.entropy.uniform(*IDLE)
        if self._said is not None or self._times is None:
            return idle
        return min(idle, max(RETRY_FIRST, self._times.wait(self.clock.monotonic())))

    async def _publish_if_due(self, publication: Publication) -> None:
        now, wall = self.clock.monotonic(), self.clock.wall()
        period = current_period(wall)
        if self._times is None:
            self._times = PublicationTimes(self.entropy, now, period, known=publication.known)
        content = self._content(publication, period)
        self._hasten_if_changed(content, period, now)
        hastened = self._hastened is not None and now >= self._hastened
        if not (self._times.due(now, period) or hastened):
            return
        if publication.token is not None and not content.reachable_at:
            self._times.postpone(now)
            return
        await self._put(publication, content, wall)
        self._said, self._said_in, self._hastened = content, period, None
        self._times.done(now)

    def _content(self, publication: Publication, period: int) -> Content:
        """Of our contact points, those alone where we can be rung now."""
        places: tuple[ReachableAt, ...] = ()
        if publication.token is not None:
            token = publication.token
            bound = [onion for onion in self.onions if self.bound(onion, token(onion, period).token)]
            places = publication.places(bound, period)
        return Content(publication.status, publication.missed, places)

    def _hasten_if_changed(self, content: Content, period: int, now: float) -> None:
        """What is said anew goes out in a few minutes, not in a few hours.  A place that is lost does not hurry:
        whoever rings tries the next one."""
        said = self._said
        if said is None or self._said_in != period or self._hastened is not None:
            return
        changed = (content.status, content.missed) != (said.status, said.missed)
        if changed or not set(content.reachable_at) <= set(said.reachable_at):
            self._hastened = now + soon(self.entropy)

    async def _put(self, publication: Publication, content: Content, wall: float) -> None:
        """A contact point that holds something newer is offered a higher revision."""
        for _ in range(TRIES):
            entry = self.sealer.seal(publication, content, wall, self._step)
            if await self.target.put(self.onion, entry):
                self._step = 0
                return
            self._step = min(2 * self._step + 1, MOST_STEPS)
        raise TransportUnavailable("the contact point did not take the record")

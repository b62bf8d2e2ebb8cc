"""The agent's guards: which they are, and what is at hand of each before anybody calls.

Lines are opened at guards and nowhere else (`relay.agent.guards`); of a guard's backup, where the owner accepted that
too, the descriptor is kept, so that a line can go on there when the guard dies.

What guards say of themselves is read at contact points (`relay.agent.descriptor_pulls`), where nobody sees whom an
agent asks about, and at the guards themselves where that is missing or old.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Sequence

from relay.agent.accepted import Accepted, Reader
from relay.agent.at_hand import AtHand
from relay.agent.events import Reporter
from relay.agent.guards import Guards, keep_guards, kept_guards
from relay.agent.kept import Kept, NotKept
from relay.agent.known_descriptors import KnownDescriptors
from relay.agent.meeting import Meeting, choose_meeting
from relay.agent.way_out import ip_versions
from relay.core import (
    BayonneError,
    Clock,
    ConfigurationError,
    Entropy,
    RefusedByPolicy,
    TransportUnavailable,
    get_logger,
)
from relay.media_reflector import ComeAgainLater, Descriptor, ReflectorReference, Ticket, fetch_ticket
from relay.media_reflector.descriptor_entry import DescriptorEntry
from relay.wire import OnionDialer

RETRY_FIRST = 1.0
RETRY_LAST = 120.0
COME_AGAIN_MOST = 600.0
"""Seconds that a reflector can put us off by at most."""
REVIEW_EVERY = 600.0
"""Seconds, at most, between two looks at lists and guards."""

_log = get_logger("reflectors")


def reflector_id(identity: bytes) -> str:
    """How a reflector is named inside a sealed offer: 32 hexadecimal digits of a hash of its identity key."""
    return hashlib.sha256(b"bayonne reflector id" + identity).hexdigest()[:32]


class ReflectorPool:
    """Keeps a descriptor and a few tickets of each guard at hand.

    `accepted` says what the owner accepts; `line_address` is the setting of that name.  Raises `ConfigurationError`
    when there is nothing to draw guards from and a list is to blame.
    """

    def __init__(
        self,
        accepted: Reader,
        state: Kept,
        clock: Clock,
        entropy: Entropy,
        *,
        report: Reporter,
        line_address: str = "",
    ) -> None:
        self._read_accepted = accepted
        self._state = state
        self._clock = clock
        self._entropy = entropy
        self._report = report
        self._versions = ip_versions(line_address)
        self._unkept = False
        self._guards = Guards(kept_guards(state), entropy)
        self.known = KnownDescriptors(state)
        self._accepted = Accepted({})
        self._reflectors: dict[str, AtHand] = {}
        """The guards that may be used, by id."""
        self._changed = asyncio.Event()
        self._dialer: OnionDialer | None = None
        self.review()
        if not self._accepted.references and self._accepted.troubles:
            raise ConfigurationError(f"reflector_lists: {self._accepted.troubles[0]}")

    # -- what calls ask ------------------------------------------------------------------------------------------

    def ready(self) -> list[str]:
        """The ids of the guards at which a line could be opened now."""
        return [name for name, reflector in self._reflectors.items() if reflector.ready]

    def offer(self) -> tuple[str, ...]:
        """As `ready`, in an order that says nothing."""
        return tuple(self._entropy.draw(self.ready()))

    def meeting(self, offered: Sequence[str]) -> Meeting | None:
        """Where to meet a caller who offered these ids; None when there is nowhere."""
        return choose_meeting(offered, {name: self._trunks(name) for name in self.ready()}, self._entropy)

    def trunk(self, own: str, other: str) -> bytes | None:
        """The identity of the reflector `other`, where our guard `own` keeps a trunk with it."""
        return self._trunks(own).get(other)

    async def wait_ready(self) -> None:
        """Return once at least one guard can be used."""
        while not self.ready():
            self._changed.clear()
            await self._changed.wait()

    def take(self, name: str) -> tuple[Descriptor, Ticket]:
        """A ticket for one line; single use.  Raises `TransportUnavailable`."""
        if (reflector := self._reflectors.get(name)) is None:
            raise TransportUnavailable("no ticket for the reflector")
        return reflector.take()

    def backup(self, name: str) -> Descriptor | None:
        """The descriptor of the guard's backup, where the owner accepted that and it was fetched."""
        reflector = self._reflectors.get(name)
        return None if reflector is None else reflector.backup

    async def take_soon(self, name: str, patience: float) -> tuple[Descriptor, Ticket]:
        """As `take`, waiting at most `patience` seconds for a ticket to come.  Raises `TransportUnavailable`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while name not in self.ready():
                    self._changed.clear()
                    await self._changed.wait()
        return self.take(name)

    async def fetch_at(self, descriptor: Descriptor) -> Ticket:
        """A ticket of a reflector of which none is kept at hand.  Raises `BayonneError`, `OSError`."""
        if self._dialer is None:
            raise TransportUnavailable("no way to a reflector yet")
        isolation = self._entropy.token(8).hex()
        now = self._clock.monotonic()
        return await fetch_ticket(self._dialer, descriptor, self._entropy, isolation=isolation, now=now)

    def distrust(self, name: str) -> None:
        """A line there did not open: what is known of the reflector may be from before it started anew."""
        if (reflector := self._reflectors.get(name)) is not None:
            reflector.forget()

    def _trunks(self, name: str) -> dict[str, bytes]:
        """The identities of the reflectors that a guard keeps a trunk with, by id."""
        reflector = self._reflectors.get(name)
        if reflector is None or reflector.descriptor is None:
            return {}
        return {reflector_id(identity): identity for identity, _ in reflector.descriptor.trunks}

    # -- guards --------------------------------------------------------------------------------------------------

    def review(self) -> None:
        """Look at lists and guards again: drop what is over, draw what is missing."""
        wall = self._clock.wall()
        accepted = self._read_accepted(wall)
        for trouble in accepted.troubles:
            if trouble not in self._accepted.troubles:
                self._report("reflector-list", why=trouble)
        self._accepted = accepted
        pending = accepted.pending(self._guards.identities)
        self._keep_if(self._guards.choose(accepted.references, wall, pending=pending))
        self.known.review(accepted, wall)
        before, self._reflectors = self._reflectors, {}
        for identity in self._guards.identities:
            if places := accepted.places(identity):
                name = reflector_id(identity)
                known = before.get(name)
                if known is None or known.reference not in places:
                    known = self._new(places, wall)
                self._reflectors[name] = known

    def _new(self, places: Sequence[ReflectorReference], wall: float) -> AtHand:
        reflector = AtHand(places[0], self._versions, self._clock, self._entropy, self._changed)
        said = self.known.of(places, wall)
        # One that took no lines when that was said may take some by now: it is asked itself.
        if said is not None and said.takes_lines:
            reflector.learn(said)
        return reflector

    # -- what contact points say ---------------------------------------------------------------------------------

    @property
    def accepted(self) -> Accepted:
        """What the owner accepts."""
        return self._accepted

    def learn(self, entries: Sequence[DescriptorEntry]) -> None:
        """Use what is news of `authentic` entries (`relay.agent.known_descriptors`)."""
        for descriptor in self.known.take(entries):
            reflector = self._reflectors.get(reflector_id(descriptor.identity))
            # What is accepted may have changed while it was on its way.
            if reflector is not None and descriptor.reference in self._accepted.places(descriptor.identity):
                reflector.learn(descriptor)
        for reflector in self._reflectors.values():
            self._learn_backup(reflector)

    def _learn_backup(self, reflector: AtHand) -> None:
        backup = self._accepted_backup(reflector)
        said = None if backup is None else self.known.of([backup], self._clock.wall())
        if said is not None:
            reflector.learn_backup(said)

    def _keep_if(self, changed: bool) -> None:
        self._unkept = self._unkept or changed
        if self._unkept:
            # Guards that cannot be kept are used all the same, and kept as soon as they can be.
            with contextlib.suppress(NotKept):
                keep_guards(self._state, self._guards.kept)
                self._unkept = False

    def _note(self, identity: bytes, *, reached: bool) -> None:
        note = self._guards.reached if reached else self._guards.missed
        self._keep_if(note(identity, self._clock.wall()))

    # -- fetching ------------------------------------------------------------------------------------------------

    async def run(self, dialer: OnionDialer, online: Callable[[], bool] = lambda: True) -> None:
        """Keep everything fresh, until cancelled.  `online` says whether there is a way to any reflector at all: while
        there is none, that is no guard's fault."""
        self._dialer = dialer
        keepers: dict[AtHand, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                used = set(self._reflectors.values())
                for gone in keepers.keys() - used:
                    keepers.pop(gone).cancel()
                for added in used - keepers.keys():
                    keepers[added] = group.create_task(self._keep(added, dialer, online))
                await asyncio.sleep(self._entropy.uniform(0.5, 1.0) * REVIEW_EVERY)
                self.review()

    async def _keep(self, reflector: AtHand, dialer: OnionDialer, online: Callable[[], bool]) -> None:
        identity = reflector.reference.identity
        retry = RETRY_FIRST
        while True:
            try:
                asked = await reflector.refresh(dialer)
            except ComeAgainLater as error:
                self._note(identity, reached=True)
                # At the moment that it named or later, and not together with everybody else it put off.
                await asyncio.sleep(min(error.seconds * self._entropy.uniform(1.0, 1.5), COME_AGAIN_MOST))
                continue
            except (BayonneError, OSError) as error:
                why = str(error) if isinstance(error, BayonneError) else "the connection broke"
                _log.info("a reflector is out of reach", why=why)
                if online():
                    self._note(identity, reached=isinstance(error, RefusedByPolicy))
                    reflector.look_elsewhere(self._accepted.places(identity))
                await asyncio.sleep(self._entropy.uniform(0.5, 1.0) * retry)
                retry = min(2 * retry, RETRY_LAST)
                continue
            retry = RETRY_FIRST
            if asked:
                # A guard without an address for us is as good as gone.
                self._note(identity, reached=not reflector.without_address)
            self._learn_backup(reflector)
            if (backup := self._accepted_backup(reflector)) is not None:
                await reflector.refresh_backup(backup, dialer)
            await reflector.wait_wanted()

    def _accepted_backup(self, reflector: AtHand) -> ReflectorReference | None:
        """The backup that a guard names, where the owner accepted it: a guard must not send us anywhere it likes."""
        if reflector.descriptor is None or not reflector.descriptor.backup:
            return None
        reference = ReflectorReference.parse(reflector.descriptor.backup)
        return reference if reference in self._accepted.places(reference.identity) else None

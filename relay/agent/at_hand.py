"""One reflector at hand: its descriptor and a few tickets, fetched ahead, each on a circuit of its own."""

import asyncio
from collections import deque
from collections.abc import Sequence

from relay.core import BayonneError, Clock, Entropy, TransportUnavailable, get_logger
from relay.media_reflector import Descriptor, ReflectorReference, Ticket, fetch_descriptor, fetch_ticket
from relay.wire import OnionDialer

TICKETS_AHEAD = 2
TICKET_MARGIN = 90.0
"""Seconds before its expiry at which an unused ticket is replaced."""
DESCRIPTOR_AGE = 6 * 3600.0
SHUT_AGE = 20 * 60.0
"""Seconds within which a reflector that said it takes no lines is asked again whether it does."""

_log = get_logger("reflectors")


class AtHand:
    """A reflector, and what is at hand of it.

    `versions` are the IP versions that lines may use; `changed` is set whenever something was fetched.
    """

    def __init__(
        self,
        reference: ReflectorReference,
        versions: tuple[int, ...],
        clock: Clock,
        entropy: Entropy,
        changed: asyncio.Event,
    ) -> None:
        self.reference = reference
        self.descriptor: Descriptor | None = None
        self.backup: Descriptor | None = None
        """Of the reflector that takes this one's lines when it dies, where that was fetched."""
        self._tickets: deque[Ticket] = deque()
        self._fetched_at = 0.0
        self._backup_at = 0.0
        self._latest = 0
        """The latest date that a descriptor of it had, from wherever it came: what is older is no news."""
        self._forgotten = 0
        """How often everything was."""
        self._wanted = asyncio.Event()
        self._versions = versions
        self._clock = clock
        self._entropy = entropy
        self._changed = changed

    @property
    def without_address(self) -> bool:
        """Whether it has no address that our lines could go to."""
        return self.descriptor is not None and self.descriptor.address_for(*self._versions) is None

    @property
    def ready(self) -> bool:
        """Whether a line could be opened there now."""
        now = self._clock.monotonic()
        return self._open_to_us and any(ticket.expires > now for ticket in self._tickets)

    @property
    def _open_to_us(self) -> bool:
        """What a reflector claims of itself counts here, where it is chosen already, and never in the choice."""
        return self.descriptor is not None and self.descriptor.takes_lines and not self.without_address

    def take(self) -> tuple[Descriptor, Ticket]:
        """A ticket for one line; single use.  Raises `TransportUnavailable`."""
        now = self._clock.monotonic()
        while self.descriptor is not None and self._tickets:
            ticket = self._tickets.popleft()
            self._wanted.set()
            if ticket.expires > now:
                return self.descriptor, ticket
        raise TransportUnavailable("no ticket for the reflector")

    def forget(self) -> None:
        """Drop what is known of it: it may be from before the reflector started anew."""
        self.descriptor = None
        self._tickets.clear()
        self._forgotten += 1
        self._wanted.set()

    def learn(self, descriptor: Descriptor) -> None:
        """Take news of it that came by way of a contact point: authentic, of a place where the reflector is accepted.

        It is as old as its date says; when it was heard says nothing, because a contact point may keep it back.
        """
        if descriptor.valid_from <= self._latest:
            return
        before = self.descriptor
        if before is None or before.backup != descriptor.backup:
            self.backup = None
        if before is not None and (before.kem_key, before.static_key) != (
            descriptor.kem_key,
            descriptor.static_key,
        ):
            self.forget()
        self._take(descriptor, age=max(0.0, self._clock.wall() - descriptor.valid_from))
        self.reference = descriptor.reference
        self._changed.set()

    def _take(self, descriptor: Descriptor, *, age: float = 0.0) -> None:
        self.descriptor = descriptor
        self._latest = max(self._latest, descriptor.valid_from)
        self._fetched_at = self._clock.monotonic() - age

    def look_elsewhere(self, places: Sequence[ReflectorReference]) -> None:
        """It was not found: ask next at another of the onions at which lists say that it is.  What comes from there
        counts only under its signature."""
        if self.reference in places:
            self.reference = places[(places.index(self.reference) + 1) % len(places)]

    async def refresh(self, dialer: OnionDialer) -> bool:
        """Fetch what is missing or too old; whether it was asked for anything.  Raises `BayonneError`, `OSError`."""
        self._wanted.clear()
        asked = False
        now = self._clock.monotonic()
        age = DESCRIPTOR_AGE if self._open_to_us else SHUT_AGE / 2
        if self.descriptor is None or now - self._fetched_at > age:
            self._take(await self._fetch(self.reference, dialer))
            self.backup, asked = None, True
        while self._tickets and self._tickets[0].expires - TICKET_MARGIN <= now:
            self._tickets.popleft()
        forgotten = self._forgotten
        while self.descriptor is not None and self._open_to_us and len(self._tickets) < TICKETS_AHEAD:
            # Each ticket on a circuit of its own, so that the reflector cannot link one to the next.
            ticket = await fetch_ticket(
                dialer,
                self.descriptor,
                self._entropy,
                isolation=self._isolation(),
                now=self._clock.monotonic(),
            )
            asked = True
            if self._forgotten != forgotten:
                # And this ticket with it.
                return asked
            self._tickets.append(ticket)
            self._changed.set()
        return asked

    async def refresh_backup(self, reference: ReflectorReference, dialer: OnionDialer) -> None:
        """Fetch the descriptor of the backup, where it is missing or too old.

        The reflector itself is there; so nothing is raised, and the next time it is tried again.
        """
        if self.backup is None or self._clock.monotonic() - self._backup_at > DESCRIPTOR_AGE:
            try:
                self._take_backup(await self._fetch(reference, dialer))
            except (BayonneError, OSError):
                _log.info("the backup of a reflector is out of reach")

    def learn_backup(self, descriptor: Descriptor) -> None:
        """As `learn`, of the backup: the one that the owner accepted."""
        age = max(0.0, self._clock.wall() - descriptor.valid_from)
        if age < DESCRIPTOR_AGE and (self.backup is None or descriptor.valid_from > self.backup.valid_from):
            self._take_backup(descriptor, age=age)

    def _take_backup(self, descriptor: Descriptor, *, age: float = 0.0) -> None:
        self.backup = descriptor
        self._backup_at = self._clock.monotonic() - age

    async def wait_wanted(self) -> None:
        """Until a ticket was taken, or the oldest one or the descriptor wants replacing."""
        wait = SHUT_AGE
        if self._tickets:
            wait = max(1.0, self._tickets[0].expires - TICKET_MARGIN - self._clock.monotonic())
        try:
            # A random moment, so that fetching does not follow a call or a clock of its own.  Not
            # asyncio.wait_for, which before Python 3.12 loses a cancellation that comes with the event.
            async with asyncio.timeout(self._entropy.uniform(0.5, 1.0) * wait):
                await self._wanted.wait()
            await asyncio.sleep(self._entropy.uniform(0.0, 10.0))
        except TimeoutError:
            pass

    async def _fetch(self, reference: ReflectorReference, dialer: OnionDialer) -> Descriptor:
        return await fetch_descriptor(dialer, reference, isolation=self._isolation(), wall=self._clock.wall())

    def _isolation(self) -> str:
        return self._entropy.token(8).hex()

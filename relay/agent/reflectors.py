"""The reflectors that this agent's owner accepted, with tickets fetched ahead of any call.

Guards (three of a signed list, kept for months) and trunks are not built yet: here every accepted reflector may be
used, and no other ever is.
"""

import asyncio
import hashlib
from collections import deque
from dataclasses import dataclass, field

from relay.core import BayonneError, Clock, Entropy, TransportUnavailable, get_logger
from relay.media_reflector import Descriptor, ReflectorReference, Ticket, fetch_descriptor, fetch_ticket
from relay.wire import OnionDialer

TICKETS_AHEAD = 2
TICKET_MARGIN = 90.0
"""Seconds before its expiry at which an unused ticket is replaced."""
DESCRIPTOR_AGE = 6 * 3600.0
RETRY_FIRST = 1.0
RETRY_LAST = 120.0

_log = get_logger("reflectors")


def reflector_id(identity: bytes) -> str:
    """How a reflector is named inside a sealed offer: 32 hexadecimal digits of a hash of its identity key."""
    return hashlib.sha256(b"bayonne reflector id" + identity).hexdigest()[:32]


@dataclass(slots=True)
class _Reflector:
    reference: ReflectorReference
    descriptor: Descriptor | None = None
    fetched_at: float = 0.0
    tickets: deque[Ticket] = field(default_factory=deque)
    wanted: asyncio.Event = field(default_factory=asyncio.Event)


class ReflectorPool:
    """Keeps a descriptor and a few tickets of each accepted reflector at hand."""

    def __init__(self, references: tuple[str, ...], clock: Clock, entropy: Entropy) -> None:
        parsed = [ReflectorReference.parse(text) for text in references]
        self._reflectors = {reflector_id(reference.identity): _Reflector(reference) for reference in parsed}
        self._clock = clock
        self._entropy = entropy
        self._changed = asyncio.Event()

    def ready(self) -> list[str]:
        """The ids of the reflectors at which a line could be opened now."""
        now = self._clock.monotonic()
        return [
            name
            for name, reflector in self._reflectors.items()
            if reflector.descriptor is not None and any(ticket.expires > now for ticket in reflector.tickets)
        ]

    async def wait_ready(self) -> None:
        """Return once at least one reflector can be used."""
        while not self.ready():
            self._changed.clear()
            await self._changed.wait()

    def take(self, name: str) -> tuple[Descriptor, Ticket]:
        """A ticket for one line; single use.  Raises `TransportUnavailable`."""
        reflector = self._reflectors.get(name)
        now = self._clock.monotonic()
        if reflector is not None and reflector.descriptor is not None:
            while reflector.tickets:
                ticket = reflector.tickets.popleft()
                reflector.wanted.set()
                if ticket.expires > now:
                    return reflector.descriptor, ticket
        raise TransportUnavailable("no ticket for the reflector")

    def distrust(self, name: str) -> None:
        """A line there did not open: what is known of the reflector may be from before it started anew."""
        reflector = self._reflectors.get(name)
        if reflector is not None:
            reflector.descriptor = None
            reflector.tickets.clear()
            reflector.wanted.set()

    async def run(self, dialer: OnionDialer) -> None:
        """Keep everything fresh, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors.values():
                group.create_task(self._keep(reflector, dialer))

    async def _keep(self, reflector: _Reflector, dialer: OnionDialer) -> None:
        retry = RETRY_FIRST
        while True:
            try:
                await self._refresh(reflector, dialer)
            except (BayonneError, OSError) as error:
                why = str(error) if isinstance(error, BayonneError) else "the connection broke"
                _log.info("a reflector is out of reach", why=why)
                await asyncio.sleep(self._entropy.uniform(0.5, 1.0) * retry)
                retry = min(2 * retry, RETRY_LAST)
                continue
            retry = RETRY_FIRST
            self._changed.set()
            reflector.wanted.clear()
            if len(reflector.tickets) >= TICKETS_AHEAD:
                wait = max(1.0, reflector.tickets[0].expires - TICKET_MARGIN - self._clock.monotonic())
                try:
                    # A random moment, so that fetching does not follow a call or a clock of its own.  Not
                    # asyncio.wait_for, which before Python 3.12 loses a cancellation that comes with the event.
                    async with asyncio.timeout(self._entropy.uniform(0.5, 1.0) * wait):
                        await reflector.wanted.wait()
                    await asyncio.sleep(self._entropy.uniform(0.0, 10.0))
                except TimeoutError:
                    pass

    async def _refresh(self, reflector: _Reflector, dialer: OnionDialer) -> None:
        now = self._clock.monotonic()
        if reflector.descriptor is None or now - reflector.fetched_at > DESCRIPTOR_AGE:
            reflector.descriptor = await fetch_descriptor(
                dialer, reflector.reference, isolation=self._isolation(), wall=self._clock.wall()
            )
            reflector.fetched_at = now
        while reflector.tickets and reflector.tickets[0].expires - TICKET_MARGIN <= now:
            reflector.tickets.popleft()
        while len(reflector.tickets) < TICKETS_AHEAD:
            # Each ticket on a circuit of its own, so that the reflector cannot link one to the next.
            reflector.tickets.append(
                await fetch_ticket(
                    dialer,
                    reflector.descriptor,
                    self._entropy,
                    isolation=self._isolation(),
                    now=self._clock.monotonic(),
                )
            )
            self._changed.set()

    def _isolation(self) -> str:
        return self._entropy.token(8).hex()

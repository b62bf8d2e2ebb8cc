"""Where a line of this agent can be opened: at a guard, at the same reflector again, at a backup the owner accepted."""

from dataclasses import dataclass

from relay.agent.reflectors import ReflectorPool, reflector_id
from relay.agent.way_out import way_to
from relay.core import Clock, TransportUnavailable
from relay.media_reflector import Descriptor, Ticket

AFRESH_SECONDS = 20.0
"""How long a fresh ticket may take to come, over Tor."""


@dataclass(frozen=True, slots=True)
class Berth:
    """One reflector (`name` is its id), one ticket, one address: what a line needs."""

    name: str
    descriptor: Descriptor
    ticket: Ticket
    address: tuple[str, int]


class Berths:
    """Finds them for one line, whose first reflector is `guard`.  Every method raises `TransportUnavailable` where
    there is none.

    No ticket is used twice, however often a reflector hands it out: its number is seen by everybody on the way, and who
    sees it on two networks knows the agent again.
    """

    def __init__(self, pool: ReflectorPool, guard: str, line_address: str, clock: Clock) -> None:
        self._pool = pool
        self._guard = guard
        self._line_address = line_address
        self._clock = clock
        self._home: Descriptor | None = None
        """The guard's."""
        self._shown: set[bytes] = set()
        """Numbers of the tickets that were used; a handful."""

    def first(self) -> Berth:
        """At the guard, with a ticket that is at hand."""
        berth = self._at(self._guard, *self._pool.take(self._guard))
        self._home = berth.descriptor
        return berth

    async def afresh(self) -> Berth:
        """At the guard, with a ticket asked for now.  Raises `BayonneError`."""
        return self._at(self._guard, *await self._pool.take_soon(self._guard, AFRESH_SECONDS))

    def here(self, left: Berth, handed: Ticket | None) -> Berth:
        """At the same reflector, with the ticket it gave to come back with."""
        if handed is None or handed.expires <= self._clock.monotonic():
            raise TransportUnavailable("no ticket to come back with")
        return self._at(left.name, left.descriptor, handed)

    def backup(self, left: Berth, handed: tuple[bytes, Ticket] | None) -> Berth:
        """At the reflector named in a line's cells: from the guard at the backup that its descriptor names and the
        owner accepted, from there at the guard, and from neither anywhere else, be it another guard."""
        if handed is None or handed[1].expires <= self._clock.monotonic():
            raise TransportUnavailable("no ticket for a backup")
        descriptor = self._pool.backup(self._guard) if left.name == self._guard else self._home
        if descriptor is None or descriptor.identity != handed[0]:
            raise TransportUnavailable("a backup that was not accepted")
        return self._at(reflector_id(descriptor.identity), descriptor, handed[1])

    async def backup_fetched(self, left: Berth) -> Berth:
        """At the guard's backup with a ticket asked for now; from there, back at the guard.

        Raises `BayonneError`, `OSError`.
        """
        if left.name != self._guard:
            return await self.afresh()
        descriptor = self._pool.backup(self._guard)
        if descriptor is None:
            raise TransportUnavailable("the reflector has no backup that was accepted")
        ticket = await self._pool.fetch_at(descriptor)
        return self._at(reflector_id(descriptor.identity), descriptor, ticket)

    def distrust(self, berth: Berth) -> None:
        """Nobody answered there, and the ticket may have been void."""
        self._pool.distrust(berth.name)

    def _at(self, name: str, descriptor: Descriptor, ticket: Ticket) -> Berth:
        address = way_to(descriptor, self._line_address)
        if address is None:
            raise TransportUnavailable("the reflector has no address of the kind that line_address is")
        if ticket.id in self._shown:
            raise TransportUnavailable("the ticket was used before")
        self._shown.add(ticket.id)
        return Berth(name, descriptor, ticket, address)

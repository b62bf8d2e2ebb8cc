"""Tickets: what opens a line.  Single use, short-lived, and nothing in one says who asked for it.

Where a ticket comes from is its kind: fetched ahead over the reflector's onion service, handed out in a line's own
cells to come back with (resumption), handed out by another reflector to go on here with (backup), or fetched by another
reflector for a trunk.  Its number, which the reflector sees in the first cell of a line, tells none of that to anybody
else.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from relay.media_reflector.forwarding.face import TICKET_ID_SIZE

SECRET_SIZE = 32
LIFETIME = 600.0
"""Seconds that an unused fetched ticket lives."""

SHORTEST_LIFETIME = 180.0
"""A fetched ticket that would run out sooner is refused: it could not outlive a long ring and a start delay, and a
reflector that hands out odd lifetimes could know its callers again by when they ask for the next."""

_NUMBER = b"bayonne ticket number\x01"


class TicketKind(IntEnum):
    """Where a ticket comes from."""

    FETCHED = 1
    RESUMPTION = 2
    BACKUP = 3
    TRUNK = 4


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to open one line.  `expires` is in the clock of whoever holds it; `peer` is the identity of the
    reflector that a backup or trunk ticket came from, where this is known."""

    id: bytes
    secret: bytes = field(repr=False)
    expires: float
    kind: TicketKind = TicketKind.FETCHED
    peer: bytes = b""

    @classmethod
    def fresh(
        cls, secret: bytes, expires: float, kind: TicketKind = TicketKind.FETCHED, peer: bytes = b""
    ) -> "Ticket":
        """A ticket whose number is derived from its secret (HKDF-Expand, RFC 5869 section 2.3)."""
        number = hmac.digest(secret, _NUMBER, "sha256")[:TICKET_ID_SIZE]
        return cls(number, secret, expires, kind, peer)


class Gate(Protocol):
    """Which first messages are worth handing up; the data plane is one."""

    def permit(self, ticket_id: bytes) -> None:
        """Hand up first messages with this number, also when it was forbidden before."""
        ...

    def forbid(self, ticket_id: bytes) -> None:
        """No longer, and not because it checks either, for as long as the key is held under which it does."""
        ...

    def check_keys(self, own: Sequence[bytes], left: Sequence[bytes]) -> None:
        """Hand up first messages whose number checks under one of these keys, and no others: under our own, or under
        what other reflectors left here."""
        ...

"""What a data plane is, in terms that its two implementations share (DESIGN.md sections 4 and 6).

A data plane holds the open lines of one reflector: it opens what arrives, lets bodies wait for the other line's slot,
and lets exactly one cell leave for every line in every tick.  Everything that is not a line's daily work it hands up
as an `Upcall`: handshakes, link control, cells from places or epochs that are not the line's own yet.  It has no
randomness and decides nothing; whoever drives it does.

`receive` and `slot` are the sans-IO face, `start` and `stop` the face with sockets.  Both implementations give the same
bytes for the same calls, which the property tests hold them to.
"""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.rtp.cell import BODY_SIZE, CELL_SIZE, LINK_PAYLOAD_SIZE, TICK

SLOTS = 20
"""Slots in a tick.  Slot number `n` begins at monotonic second `n * TICK / SLOTS` and serves the lines of slot
`n % SLOTS`."""
SLOT_SECONDS = TICK / SLOTS

MAX_QUEUED = 3
"""Bodies that may wait for a line's slot; the oldest is dropped (`queue_full`)."""
MAX_STANDING = 2
"""A queue that still holds this many after a departure only delays; once it did so on `STANDING_TICKS` departures in a
row, its oldest body is dropped (`queue_trimmed`) and the count starts anew."""
STANDING_TICKS = 100
MAX_CONTROL = 8
"""Control bodies that may wait on one line."""
MAX_SINGLE = 256
"""Single datagrams (`send`) that may wait for one slot."""
MAX_UPCALLS = 256
"""Upcalls that may wait to be taken; more are counted (`upcalls_full`) and gone."""
PERMITTED_PER_TICK = 32
OWN_PER_TICK = 48
LEFT_PER_TICK = 48
"""Different ticket numbers that are handed up in one tick (`floor(now / TICK)`), each once: those that are permitted,
those that check under the reflector's own keys, and those that check under keys which others left here.  More are
counted (`stranger_limited`).  Places that one origin leaves empty stay empty: whoever holds many numbers of one origin
keeps nobody out who comes with another.  A tick here is the latest that any worker began: what one reads in a batch
that began before it counts in it."""
OPENING_PER_TICK = 48
OPEN_PER_TICK = 64
"""Lines of which something is handed up (`ControlReceived` or `Elsewhere`) in one tick, once of each: those without an
address, and those with one.  More are counted (`line_limited`), and agents say again what matters.  All these places
together are fewer than `MAX_UPCALLS`, so that what fills some of them leaves room in the ring for the others."""
LINES_PER_ADDRESS = 16
"""Of `OPEN_PER_TICK` at most so many lines that have the same address, whatever address their cells come from: the far
end of a trunk has thousands of lines."""
EASE = 4
PERIOD_TICKS = 64
"""At most half of each of these shares (not of an address's) is for ticket numbers, or lines, that were handed up
`EASE` times or more in this period (`tick // PERIOD_TICKS`) and the one before: who says the same again and again
leaves room for who comes anew."""
LINE_EXPIRY = 30.0
"""Seconds without an authentic cell after which a line emits nothing more and is reported (`Expired`)."""

TICKET_ID_SIZE = 16
TICKET_ID_AT = 12
"""Where the ticket's number stands in a cell that carries a first handshake message."""
CHECK_KEY_SIZE = 16
CHECK_SIZE = 8
"""A number that needs no table ends in this many bytes of check: the first bytes of the tag of AES-128-GCM over
nothing, under a check key, with the number's first 8 bytes and four zero bytes as nonce."""
MAX_CHECK_KEYS = 16
MAX_FORBIDDEN = 1 << 16
"""Forbidden numbers that are remembered for one check key; then the oldest one passes the check again."""

ADDRESS_SIZE = 18

DROPS = (
    "wrong_size",
    "not_a_cell",
    "unknown_ssrc",
    "upcalls_full",
    "stranger_limited",
    "line_limited",
    "not_authentic",
    "replayed",
    "unknown_type",
    "not_crossed",
    "queue_full",
    "queue_trimmed",
    "control_full",
    "singles_full",
)
"""Every reason for which a datagram, or a body in it or for a line, goes no further."""

COUNTERS = (
    *DROPS,
    "datagrams_received",
    "cells_received",
    "cells_sent",
    "singles_sent",
    "bodies_sent",
    "chaff_sent",
    "control_sent",
    "departures_missed",
    "send_failed",
    "receive_failed",
    "lines_expired",
    "strangers_received",
)
"""All counts of a data plane, in the order in which the native one keeps them."""

FATES = (
    "wrong_size",
    "not_a_cell",
    "unknown_ssrc",
    "stranger_limited",
    "strangers_received",
    "replayed",
    "not_authentic",
    "cells_received",
)
"""Exactly one of these counts each datagram: together they are `datagrams_received`.  What then becomes of a stranger's
message (`upcalls_full`) or of an authentic cell (`upcalls_full`, `not_crossed`, ...) is counted besides."""

Address = bytes
"""Where a datagram comes from or goes to: 16 bytes of IPv6 address (IPv4 mapped, RFC 4291 section 2.5.5.2), 2 of
port."""


def pack_address(host: str, port: int) -> Address:
    """The 18 bytes of a literal address.  Raises `ValueError` when `host` is none."""
    parsed = ipaddress.ip_address(host)
    if parsed.version == 4:
        parsed = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + parsed.packed)
    return parsed.packed + port.to_bytes(2)


def unpack_address(address: Address) -> tuple[str, int]:
    """Host and port of what `pack_address` made."""
    parsed = ipaddress.IPv6Address(address[:16])
    return str(parsed.ipv4_mapped or parsed), int.from_bytes(address[16:])


@dataclass(frozen=True, slots=True)
class UpKeys:
    """What opens the cells of one epoch: SSRC, session key (16) and salt (12) of AEAD_AES_128_GCM; the rollover counter
    starts at zero."""

    ssrc: int
    key: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class DownKeys:
    """What seals the cells of one epoch, and the first RTP header that it seals under.

    `sequence_number` continues what was sent under the same SSRC before; `rollover_counter` is how often it wrapped.
    """

    ssrc: int
    key: bytes
    salt: bytes
    sequence_number: int
    timestamp: int
    rollover_counter: int = 0


@dataclass(frozen=True, slots=True)
class Stranger:
    """A cell under an SSRC that no line has, or has opened yet, whose ticket number is a permitted one, or
    checks and was not forbidden."""

    datagram: bytes
    source: Address


@dataclass(frozen=True, slots=True)
class ControlReceived:
    """A control body (131 bytes) of a line, under its current epoch, from its own address.

    Of one line at most one `ControlReceived` or `Elsewhere` in a tick, and one more when it gets its address in it.
    """

    line: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An authentic cell of a line under its next epoch, or from an address that is not the line's own.

    `following` says that it was the next epoch; `payload` has link type and body (132 bytes).  A body for the other
    line has been passed on already.
    """

    line: int
    following: bool
    payload: bytes
    source: Address


@dataclass(frozen=True, slots=True)
class Expired:
    """Nothing authentic came for `LINE_EXPIRY`; no cell leaves any more.  The line stays until it is removed."""

    line: int


Upcall = Stranger | ControlReceived | Elsewhere | Expired

Datagram = tuple[bytes, Address]


class Forwarding(Protocol):
    """One data plane.  Every method may be called from any thread while workers run.

    A line's number never comes back while the data plane lives; a number that is gone is ignored by every method (False
    where there is a result), because the line may have ended a moment ago.
    """

    name: str
    """"native" or "plain"."""

    def add_line(self, slot: int, up: UpKeys, now: float) -> int | None:
        """A line in `slot` without an address: nothing leaves for it yet, all that comes is `Elsewhere` (or `Stranger`
        while its ticket is permitted).  None when the SSRC is taken."""
        ...

    def prepare(self, line: int, up: UpKeys | None) -> bool:
        """Have the line's next epoch opened too, in place of an earlier next one.  False when the SSRC is taken."""
        ...

    def settle(self, line: int, down: DownKeys | None, address: Address, *, advance: bool) -> bool:
        """From now on the line's cells go to `address`, under `down` (None: as before).

        With `advance` the next epoch becomes the current one, and the one before is opened no more.
        """
        ...

    def cross(self, one: int, other: int) -> bool:
        """Pass the bodies of each line to the other; whatever they were crossed with is uncrossed first."""
        ...

    def uncross(self, line: int) -> bool:
        """Pass no more bodies between this line and its other one; what waits already still leaves."""
        ...

    def control(self, line: int, body: bytes) -> bool:
        """Let a control body leave before any other.  False when `MAX_CONTROL` wait already (`control_full`)."""
        ...

    def remove(self, line: int) -> bool:
        """Forget a line and everything that waits on it."""
        ...

    def send(self, slot: int, datagram: bytes, address: Address) -> bool:
        """Let one datagram of `CELL_SIZE` leave with the next slot that is `slot` modulo `SLOTS`, after its lines."""
        ...

    def permit(self, ticket_id: bytes) -> None:
        """Hand up first messages with this number, also when it was forbidden before."""
        ...

    def forbid(self, ticket_id: bytes) -> None:
        """No longer, and not because it checks either, for as long as the key is held under which it does."""
        ...

    def check_keys(self, own: Sequence[bytes], left: Sequence[bytes]) -> None:
        """Hand up first messages whose number ends in a check under one of these keys, in place of all earlier ones (at
        most `MAX_CHECK_KEYS` together): the reflector's own, and those that others left here."""
        ...

    def upcalls(self) -> list[Upcall]:
        """What waits to be decided, oldest first; each once."""
        ...

    def counters(self) -> dict[str, int]:
        """All of `COUNTERS`."""
        ...

    @property
    def lines(self) -> int:
        """How many lines there are, those without an address included."""
        ...

    def receive(self, datagrams: Sequence[Datagram], now: float) -> None:
        """Take datagrams in order.  Nothing leaves because of it before its line's slot."""
        ...

    def slot(self, number: int, now: float) -> list[Datagram]:
        """The datagrams that leave in slot `number`: its lines in the order in which they were added (a removed one's
        place goes to the last), then single ones."""
        ...

    def start(self, sockets: Sequence[Sequence[socket.socket]]) -> int:
        """Receive and send, one worker for each inner sequence (its IPv4 socket, its IPv6 socket, or both), until
        `stop`.  The descriptor that comes back becomes readable when upcalls wait; reading it resets it."""
        ...

    def stop(self) -> None:
        """End the workers and wait for them.  The sockets stay open."""
        ...


assert (CELL_SIZE, LINK_PAYLOAD_SIZE, BODY_SIZE) == (160, 132, 131)

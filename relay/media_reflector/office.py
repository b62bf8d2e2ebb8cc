"""The ticket office of a reflector: what its onion service answers, and which first messages are worth a handshake."""

from collections.abc import Callable, Iterable

from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from relay.core import Counters, Entropy, MisuseError, PeerError
from relay.media_reflector.resumption import KEY_LIFETIME, TicketKeys
from relay.media_reflector.ticket_messages import (
    LATEST_MOMENT,
    SOONEST_MOMENT,
    Answer,
    Request,
    RequestKind,
    open_secret,
    read_request,
    unseal,
    verify_peer,
    write_answer,
)
from relay.media_reflector.tickets import LIFETIME, Gate, Ticket, TicketKind

MAX_TRUNK_TICKETS = 4
"""Unused trunk tickets of one peer; they do not count against the agents' capacity, nor the agents' against them."""

DROPS = ("request_refused", "not_a_peer", "bad_request")
"""Every reason for which a request is granted nothing."""
_EVENTS = (
    "tickets_issued",
    "tickets_used",
    "tickets_expired",
    "tickets_minted",
    "trunk_tickets_issued",
    "backup_keys_taken",
    "descriptors_given",
)


class TicketOffice:
    """Issues tickets and forgets them: used, or too old.  Keeps the gate informed of what may open a line.

    At most `capacity` fetched ones are outstanding; beyond that, and while `draining`, whoever asks is told another
    moment and no reason.
    """

    def __init__(
        self,
        kem_private_key: MLKEM768X25519PrivateKey,
        identity: bytes,
        capacity: int,
        entropy: Entropy,
        gate: Gate,
    ) -> None:
        self.counters = Counters((*DROPS, *_EVENTS))
        self.capacity = capacity
        self.draining = False
        self._key = kem_private_key
        self._identity = identity
        self._entropy = entropy
        self._gate = gate
        self._peers: frozenset[bytes] = frozenset()
        self._fetched: dict[bytes, Ticket] = {}
        """In order of issue, which is the order of expiry; `_trunk` too."""
        self._trunk: dict[bytes, Ticket] = {}
        self._keys = TicketKeys(entropy)

    def __len__(self) -> int:
        """Fetched tickets that are outstanding."""
        return len(self._fetched)

    @property
    def peers(self) -> frozenset[bytes]:
        """Identities of the reflectors that may leave a backup key or ask for trunk tickets."""
        return self._peers

    def accept_peers(self, identities: Iterable[bytes]) -> None:
        """Replace `peers`; what the others left here is forgotten."""
        self._peers = frozenset(identities)
        self._keys.keep_peers(self._peers)
        for ticket in [ticket for ticket in self._trunk.values() if ticket.peer not in self._peers]:
            del self._trunk[ticket.id]
            self._gate.forbid(ticket.id)
        self._gate.check_keys(*self._keys.check_keys)

    def answer(self, request: bytes, signed_descriptor: Callable[[], bytes], now: float) -> bytes:
        """The padded answer to a padded request.  `now` is monotonic.  Raises `PeerError` on garbage."""
        self.expire(now)
        try:
            asked = read_request(request)
            if asked.kind == RequestKind.DESCRIPTOR:
                self.counters.count("descriptors_given")
                return write_answer(Answer(True, signed_descriptor(), 0))
            return write_answer(self._grant(asked, now))
        except PeerError:
            self.counters.count("bad_request")
            raise

    def _grant(self, asked: Request, now: float) -> Answer:
        """Decide before anything is opened: a reflector that is full must be cheap to ask."""
        refused = self._why_not(asked)
        if refused is not None:
            self.counters.count(refused)
            return self._another_moment()
        if asked.kind == RequestKind.TICKET:
            self.issue(asked.sealed, now)
            return Answer(True, b"", int(LIFETIME))
        verify_peer(asked, self._identity)
        secret = open_secret(asked, self._key, self._identity)
        if asked.kind == RequestKind.TRUNK_TICKET:
            ticket = Ticket.fresh(secret, now + LIFETIME, TicketKind.TRUNK, asked.peer)
            self._put(ticket, self._trunk, "trunk_tickets_issued")
            return Answer(True, b"", int(LIFETIME))
        self._keys.leave(asked.peer, secret, now)
        self._gate.check_keys(*self._keys.check_keys)
        self.counters.count("backup_keys_taken")
        return Answer(True, b"", int(KEY_LIFETIME))

    def put_off(self) -> bytes:
        """The padded answer to whoever comes when there is no time to read what they ask: another moment."""
        return write_answer(self._another_moment())

    def _another_moment(self) -> Answer:
        span = LATEST_MOMENT - SOONEST_MOMENT + 1
        return Answer(False, b"", SOONEST_MOMENT + self._entropy.below(span))

    def _why_not(self, asked: Request) -> str | None:
        """What a request that is refused counts as; None for one that is granted.  The asker is told nothing of it."""
        if asked.kind != RequestKind.TICKET and asked.peer not in self._peers:
            return "not_a_peer"
        return None if not self.draining and self._has_room(asked) else "request_refused"

    def _has_room(self, asked: Request) -> bool:
        match asked.kind:
            case RequestKind.BACKUP_KEY:
                return self._keys.has_room(asked.peer)
            case RequestKind.TRUNK_TICKET:
                held = sum(ticket.peer == asked.peer for ticket in self._trunk.values())
                return held < MAX_TRUNK_TICKETS
            case _:
                return len(self._fetched) < self.capacity

    def issue(self, sealed_secret: bytes, now: float) -> Ticket:
        """Take an agent's sealed secret.  Raises `PeerError` (not sealed to us, or here already)."""
        secret = unseal(RequestKind.TICKET, sealed_secret, self._key, self._identity)
        ticket = Ticket.fresh(secret, now + LIFETIME)
        self._put(ticket, self._fetched, "tickets_issued")
        return ticket

    def _put(self, ticket: Ticket, table: dict[bytes, Ticket], count: str) -> None:
        if ticket.id in table:
            raise PeerError("ticket asked for twice")
        table[ticket.id] = ticket
        self._gate.permit(ticket.id)
        self.counters.count(count)

    def find(self, ticket_id: bytes, now: float) -> Ticket | None:
        """The unused ticket of that number, still valid, of whatever kind."""
        ticket = self._fetched.get(ticket_id) or self._trunk.get(ticket_id)
        if ticket is None:
            ticket = self._keys.find(ticket_id, now)
        if ticket is None or now >= ticket.expires:
            return None
        return ticket if ticket.kind is not TicketKind.BACKUP or ticket.peer in self._peers else None

    def trunk_ticket(self, ticket_id: bytes, now: float) -> Ticket | None:
        """As `find`, among trunk tickets alone."""
        ticket = self._trunk.get(ticket_id)
        return ticket if ticket is not None and now < ticket.expires else None

    def use(self, ticket_id: bytes, now: float) -> None:
        """Never open a line with this ticket again.

        The gate is left as it is, because the first message may have to be answered again: whoever opens the line
        forbids the number once the line is proved or given up.
        """
        known = self._fetched.pop(ticket_id, None) or self._trunk.pop(ticket_id, None)
        if known is None and not self._keys.use(ticket_id):
            raise MisuseError("a ticket that is not there was used")
        self.counters.count("tickets_used")

    def resumption(self, now: float, again: bytes = b"") -> Ticket:
        """A resumption ticket, for a line to be handed in its cells; also while draining, because a restart is what it
        is for.  That of the number `again`, if it can still be used, else a fresh one."""
        self.expire(now)
        known = self._keys.find(again, now) if again else None
        if known is not None:
            return known
        self.counters.count("tickets_minted")
        return self._keys.mint(now)

    def void(self, ticket_id: bytes) -> None:
        """Never open a line with this resumption ticket, though nobody used it: another line's end ended it."""
        self._keys.void(ticket_id)
        self._gate.forbid(ticket_id)

    def expire(self, now: float) -> None:
        """Forget what is too old, change keys when it is time."""
        for table in (self._fetched, self._trunk):
            while table and now >= (oldest := next(iter(table.values()))).expires:
                del table[oldest.id]
                self._gate.forbid(oldest.id)
                self.counters.count("tickets_expired")
        if self._keys.renew(now):
            self._gate.check_keys(*self._keys.check_keys)

    def sealing_keys(self) -> bytes:
        """What `restore` takes: the keys of resumption and backup tickets and which of those were used.

        For the service manager's descriptor store on this machine, whose monotonic clock they count in; never for a
        disk.
        """
        return self._keys.save()

    def restore(self, sealing_keys: bytes) -> bool:
        """Honour the tickets of the process before.  False, and nothing changes, when they cannot be read."""
        if not self._keys.restore(sealing_keys):
            return False
        self._gate.check_keys(*self._keys.check_keys)
        for number in self._keys.used():
            self._gate.forbid(number)
        return True

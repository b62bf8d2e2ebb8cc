"""Asking a reflector over its onion service, ahead of any call: descriptor and tickets for an agent, backup keys and
trunk tickets for another reflector."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.core import Entropy, PeerError
from relay.media_reflector.descriptor import ONION_PORT, Descriptor, ReflectorReference, verify_descriptor
from relay.media_reflector.resumption import KEY_LIFETIME
from relay.media_reflector.ticket_messages import (
    ANSWER_SIZE,
    Answer,
    ComeAgainLater,
    RequestKind,
    descriptor_request,
    parse_answer,
    peer_request,
    ticket_lifetime,
    ticket_request,
)
from relay.media_reflector.tickets import SECRET_SIZE, Ticket, TicketKind
from relay.wire import OnionDialer, exchange

__all__ = ["ComeAgainLater", "fetch_descriptor", "fetch_ticket", "fetch_trunk_ticket", "leave_backup_key"]


async def fetch_descriptor(
    dialer: OnionDialer, reference: ReflectorReference, *, isolation: str, wall: float, timeout: float = 30.0
) -> Descriptor:
    """The verified descriptor behind `reference`; `wall` is the wall time now.

    Raises `TransportUnavailable`, `PeerError` when what came back is not that reflector's descriptor, and
    `ComeAgainLater` when too many ask it at once.
    """
    answer = await _ask(dialer, reference.onion, descriptor_request(), isolation, timeout)
    return verify_descriptor(answer.data, reference, wall)


async def fetch_ticket(
    dialer: OnionDialer,
    descriptor: Descriptor,
    entropy: Entropy,
    *,
    isolation: str,
    now: float,
    timeout: float = 30.0,
) -> Ticket:
    """A fresh ticket; its `expires` counts from `now`, the time before the request, in the caller's clock.

    Raises `TransportUnavailable`, `PeerError` (also on a lifetime out of bounds), and `ComeAgainLater`.
    """
    request, secret = ticket_request(descriptor, entropy)
    answer = await _ask(dialer, descriptor.onion, request, isolation, timeout)
    return Ticket.fresh(secret, now + ticket_lifetime(answer))


async def fetch_trunk_ticket(
    dialer: OnionDialer,
    descriptor: Descriptor,
    identity_key: Ed25519PrivateKey,
    entropy: Entropy,
    *,
    isolation: str,
    now: float,
    timeout: float = 30.0,
) -> Ticket:
    """A ticket for a trunk from the reflector of `identity_key` to that of `descriptor`, which is its `peer`.

    Raises `TransportUnavailable`, `PeerError`, and `ComeAgainLater`, which is also what the other one says when it does
    not accept us as a peer.
    """
    secret = entropy.token(SECRET_SIZE)
    request = peer_request(RequestKind.TRUNK_TICKET, secret, descriptor, identity_key)
    answer = await _ask(dialer, descriptor.onion, request, isolation, timeout)
    return Ticket.fresh(secret, now + ticket_lifetime(answer), TicketKind.TRUNK, descriptor.identity)


async def leave_backup_key(
    dialer: OnionDialer,
    descriptor: Descriptor,
    identity_key: Ed25519PrivateKey,
    key: bytes,
    *,
    isolation: str,
    timeout: float = 30.0,
) -> None:
    """Have the reflector of `descriptor` take the tickets that the reflector of `identity_key` makes under `key` (32
    bytes), for `KEY_LIFETIME`.

    Raises as `fetch_trunk_ticket`.
    """
    request = peer_request(RequestKind.BACKUP_KEY, key, descriptor, identity_key)
    answer = await _ask(dialer, descriptor.onion, request, isolation, timeout)
    if answer.seconds != KEY_LIFETIME:
        # What we hand out says how long it is good for; that must be true.
        raise PeerError("bad key lifetime")


async def _ask(dialer: OnionDialer, onion: str, request: bytes, isolation: str, timeout: float) -> Answer:
    answer = await exchange(
        dialer, onion, ONION_PORT, request, isolation=isolation, limit=ANSWER_SIZE, timeout=timeout
    )
    return parse_answer(answer)

"""The agent's side of a reflector's onion service: fetch the descriptor, fetch a ticket, ahead of any
call."""

from relay.core import Entropy
from relay.media_reflector.descriptor import ONION_PORT, Descriptor, ReflectorReference, verify_descriptor
from relay.media_reflector.tickets import (
    ANSWER_SIZE,
    Ticket,
    descriptor_request,
    parse_answer,
    ticket_lifetime,
    ticket_request,
)
from relay.wire import OnionDialer, exchange


async def fetch_descriptor(
    dialer: OnionDialer, reference: ReflectorReference, *, isolation: str, wall: float, timeout: float = 30.0
) -> Descriptor:
    """The verified descriptor behind `reference`; `wall` is the wall time now.

    Raises `TransportUnavailable`, or `PeerError` when what came back is not that reflector's descriptor.
    """
    answer = await exchange(
        dialer,
        reference.onion,
        ONION_PORT,
        descriptor_request(),
        isolation=isolation,
        limit=ANSWER_SIZE,
        timeout=timeout,
    )
    return verify_descriptor(parse_answer(answer).data, reference, wall)


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

    Raises `TransportUnavailable`, `PeerError` (also on a lifetime out of bounds), and `RefusedByPolicy` when
    the reflector has too many out.
    """
    request, secret = ticket_request(descriptor, entropy)
    answer = await exchange(
        dialer,
        descriptor.onion,
        ONION_PORT,
        request,
        isolation=isolation,
        limit=ANSWER_SIZE,
        timeout=timeout,
    )
    return Ticket(secret, now + ticket_lifetime(parse_answer(answer)))

"""Leaving one entry at one contact point, whoever leaves it: work, answer, more work where it is wanted.

Streams and circuits are the caller's, and so is where the work is done: an agent's cells, or a reflector's, must not
wait for it.
"""

from collections.abc import Awaitable, Callable

from relay.core import PeerError, TransportUnavailable
from relay.forward_publish.answers import PutAnswer, PutResult
from relay.forward_publish.entries import Entry
from relay.forward_publish.requests import Put
from relay.forward_publish.work import BASE_BITS

MOST_WORK = 22
"""Zero bits that we are ready to find for one entry: some seconds of computing, spread over half a minute."""
PUT_TRIES = 3

Ask = Callable[[Put], Awaitable[bytes]]
"""Sends a request on a circuit of its own and gives the answer.  Raises `TransportUnavailable`."""
FindWork = Callable[[Entry, int], Awaitable[bytes]]
"""Gives a nonce that brings so many zero bits (`relay.forward_publish.grind`)."""


async def put_entry(entry: Entry, ask: Ask, find_work: FindWork) -> bool:
    """Leave `entry` at the contact point that `ask` asks.  False where a newer one is there already.

    Raises `TransportUnavailable`, also where the contact point has no room, wants more work than is reasonable, or
    talks nonsense.
    """
    bits = BASE_BITS
    for _ in range(PUT_TRIES):
        answer = _read(await ask(Put.of(entry, await find_work(entry, bits))))
        match answer.result:
            case PutResult.ACCEPTED:
                return True
            case PutResult.OLDER:
                return False
            case PutResult.FULL:
                raise TransportUnavailable("the contact point has no room")
            case PutResult.MORE_WORK if bits < answer.bits <= MOST_WORK:
                bits = answer.bits
            case _:
                break
    raise TransportUnavailable("the contact point wants more work than is reasonable")


def _read(answer: bytes) -> PutAnswer:
    try:
        return PutAnswer.parse(answer)
    except PeerError:
        raise TransportUnavailable("the contact point gave no usable answer; try another one") from None

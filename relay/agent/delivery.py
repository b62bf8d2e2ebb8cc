"""One sealed body to whichever of several contact points takes it first, tried in turn."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from relay.core import TransportUnavailable

PATIENCE = 8.0
"""Seconds that a contact point gets while there is another one to try."""

Send = Callable[[str, str, bytes], Awaitable[None]]
Target = tuple[str, str]
"""A contact point (onion name) and the token that rings there."""


async def first_that_takes(targets: Sequence[Target], body: bytes, send: Send) -> Target:
    """Hand `body` to one target after the other until one takes it; returns that one.

    One that did not answer in time may have passed it on all the same: the same body, come twice, counts once.
    Raises `TransportUnavailable` where none took it.
    """
    for number, target in enumerate(targets, start=1):
        last = number == len(targets)
        try:
            async with asyncio.timeout(None if last else PATIENCE):
                await send(*target, body)
        except (TransportUnavailable, TimeoutError):
            if last:
                raise
        else:
            return target
    raise TransportUnavailable("there is no contact point to try")

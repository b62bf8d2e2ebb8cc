"""What every call of an agent shares, handed to each by the agent."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol

from relay.agent.commands import Tone
from relay.agent.contacts import Contact
from relay.agent.events import Reporter
from relay.agent.reflectors import ReflectorPool
from relay.core import Clock, Entropy
from relay.identity import Identity


class Messenger(Protocol):
    """Sends one sealed body to a contact, by way of its contact point."""

    async def send(self, onion: str, token: str, body: bytes) -> None:
        """Raises `TransportUnavailable`."""
        ...

    async def wait_bound(self, token: str, timeout: float) -> None:
        """Return once an answer to `token` can reach us.  Raises `TransportUnavailable`."""
        ...

    def seal_note(self, contact: Contact, sip: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every call of an agent shares."""

    identity: Identity
    clock: Clock
    entropy: Entropy
    pool: ReflectorPool
    messenger: Messenger
    report: Reporter
    tones: dict[Tone, list[bytes]]
    line_address: str
    media_host: str
    spawn: Callable[[str, Coroutine[None, None, None]], "asyncio.Task[None]"]

"""What every call of an agent shares, handed to each by the agent."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.agent.commands import Tone
from relay.agent.contact_file import Contact
from relay.agent.events import Reporter
from relay.agent.reflectors import ReflectorPool
from relay.agent.voice_security import Listener, Zids
from relay.core import Clock, Entropy
from relay.identity import Identity


class Messenger(Protocol):
    """Sends sealed bodies to contacts, by way of their contact points, and knows which tokens of ours are taken up."""

    async def send(self, onion: str, token: str, body: bytes) -> None:
        """Raises `TransportUnavailable`."""
        ...

    def bound(self, onion: str, token: str) -> bool:
        """Whether what is sent to that token of ours, at that contact point, can reach us now."""
        ...

    async def wait_bound(self, tokens: Sequence[tuple[str, str]], timeout: float) -> None:
        """Return once one of `tokens`, pairs of contact point and token, is bound.  Raises `TransportUnavailable`."""
        ...

    def seal_note(self, contact: Contact, sip: bytes) -> bytes:
        """Raises `PeerError`, `MisuseError`."""
        ...


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
    zids: Zids
    listener: Listener

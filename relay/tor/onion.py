"""An onion service of ours: its key to keep, its name to tell (rend-spec-v3)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OnionKey:
    """The service's secret key, as the control port gives and takes it ("ED25519-V3:...")."""

    text: str = field(repr=False)

    def to_bytes(self) -> bytes:
        """For the state directory: secret."""
        return self.text.encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "OnionKey":
        return cls(data.decode().strip())


@dataclass(frozen=True, slots=True)
class OnionService:
    """A published service; it lasts as long as the control connection that made it."""

    onion: str = field(repr=False)
    key: OnionKey = field(repr=False)
    remove: Callable[[], Awaitable[None]] = field(repr=False)

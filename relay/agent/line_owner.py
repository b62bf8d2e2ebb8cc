"""What a line is for: what `relay.agent.line_keeper` asks and tells, without knowing who it is."""

from typing import Protocol


class LineOwner(Protocol):
    """What a line is for."""

    def next_body(self) -> bytes | None:
        """The 131 sealed bytes of the next cell; None for random ones."""
        ...

    def take_body(self, body: bytes) -> bool:
        """A body came; True when the other end of the call made it."""
        ...

    def code_at(self, identity: bytes) -> bytes | None:
        """The join code at the reflector of this identity, where the line moves there; None where it is to meet
        nobody."""
        ...

    def line_open(self) -> None:
        """It is open, for the first time."""
        ...

    def line_lost(self, reason: str) -> None:
        """It is gone, and there is nowhere to go on."""
        ...

    def not_crossed(self, reason: str) -> None:
        """The reflector will not cross it."""
        ...

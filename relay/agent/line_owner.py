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

    def meets_at(self, identity: bytes) -> tuple[bytes, bytes | None] | None:
        """How the line meets the other one, where it moves to the reflector of this identity: the join code, and the
        identity to which a trunk leads from there, if one is needed.  None where it is to meet nobody."""
        ...

    def waits_at(self, identity: bytes) -> bytes | None:
        """The join code under which the line, where it is, waits for the other one after the trunk between them broke;
        None where there was no trunk, or nobody is to be met."""
        ...

    @property
    def over_trunk(self) -> bool:
        """Whether the two lines began at two reflectors."""
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

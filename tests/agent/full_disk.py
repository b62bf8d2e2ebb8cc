"""A disk that is full for a while."""

from pathlib import Path

from relay.agent.kept import NotKept, PlainFiles


class FullDisk(PlainFiles):
    """Takes nothing while it is `full`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.full = False
        self.refused = 0

    def write(self, name: str, content: bytes) -> None:
        if self.full:
            self.refused += 1
            raise NotKept("the disk is full")
        super().write(name, content)

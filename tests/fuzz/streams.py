"""A connection on which everything that will come has come, and a file that is on no disk."""

import asyncio
from pathlib import Path
from typing import cast


class _Reader:
    """As much of `asyncio.StreamReader` as is read with here; pieces of at most `piece` bytes."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._data = data
        self._piece = piece

    async def readexactly(self, size: int) -> bytes:
        if size > len(self._data):
            raise asyncio.IncompleteReadError(self._data, size)
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    async def read(self, size: int) -> bytes:
        return await self.readexactly(min(size, self._piece, len(self._data)))


class _Writer:
    def write(self, data: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass


def reader_of(data: bytes, *, piece: int = 1 << 20) -> asyncio.StreamReader:
    """A stream that brings `data` and ends."""
    return cast(asyncio.StreamReader, _Reader(data, piece))


def nowhere() -> asyncio.StreamWriter:
    """A stream that takes everything."""
    return cast(asyncio.StreamWriter, _Writer())


class _File:
    """As much of a path as is read with, whatever is looked for beneath it."""

    name = "file"

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __truediv__(self, name: str) -> "_File":
        return self

    def read_bytes(self) -> bytes:
        return self._data

    def read_text(self, encoding: str = "utf-8") -> str:
        return self._data.decode(encoding)


def file_of(data: bytes) -> Path:
    """A file, or a directory in which every file is, that holds `data`."""
    return cast(Path, _File(data))

"""What the fuzzer tries: a codec is whatever reads bytes or text that somebody else wrote.

`Codec.play` reads one input.  What is not refused as the codec may refuse it is a finding: any other exception, and
whatever the codec asserts of what it read, such as that it comes back as it went.
"""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from relay.core import PeerError

T = TypeVar("T")
Refusals = tuple[type[Exception], ...]

PEER: Refusals = (PeerError,)


class Shape(Enum):
    """How inputs are changed besides by bytes: as the tree that they are."""

    BYTES = "bytes"
    PACKED = "packed"
    """MessagePack."""
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Codec:
    """`seeds` gives inputs to begin with, of which one at least is read without a refusal; `words` are what the
    fuzzer would be long in finding by itself."""

    name: str
    read: Callable[[bytes], object] = field(repr=False)
    seeds: Callable[[], Iterable[bytes]] = field(repr=False)
    refusals: Refusals = PEER
    shape: Shape = Shape.BYTES
    words: tuple[bytes, ...] = ()
    longest: int = 4096
    """Bytes of an input."""

    def play(self, data: bytes) -> bool:
        """Whether it was read, and not refused.  Anything else is raised."""
        try:
            self.read(data)
        except self.refusals:
            return False
        return True


def canonical(parse: Callable[[bytes], T], write: Callable[[T], bytes]) -> Callable[[bytes], object]:
    """For a codec that takes one spelling alone: what was read is written as the same bytes."""

    def read(data: bytes) -> None:
        same(write(parse(data)), data)

    return read


def steady(parse: Callable[[bytes], T], write: Callable[[T], bytes]) -> Callable[[bytes], object]:
    """For a codec that takes several spellings: what was read, written and read again is the same."""

    def read(data: bytes) -> None:
        value = parse(data)
        same(parse(write(value)), value)

    return read


def settled(parse: Callable[[bytes], T], write: Callable[[T], bytes]) -> Callable[[bytes], object]:
    """For a codec that keeps a part of what it reads: what it kept comes back as it went."""

    def read(data: bytes) -> None:
        kept = write(parse(data))
        same(write(parse(kept)), kept)

    return read


def of_text(parse: Callable[[str], T]) -> Callable[[bytes], T]:
    """`parse` fed with bytes; what is no UTF-8 becomes what Python makes of it in file names and arguments."""

    def read(data: bytes) -> T:
        return parse(data.decode("utf-8", "surrogateescape"))

    return read


def same(again: object, before: object) -> None:
    """Raises `AssertionError` unless both are equal."""
    if again != before:
        raise AssertionError("not the same after reading and writing")


def each(*tries: Callable[[], object]) -> None:
    """Do all of them; each may raise `PeerError`."""
    for attempt in tries:
        try:
            attempt()
        except PeerError:
            continue


def without_waiting(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which has nothing to wait for: everything it reads is there."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise AssertionError("it waits for something")

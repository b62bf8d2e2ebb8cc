"""One other contact point as the host cache remembers it, and the file's form."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import msgspec

from relay.core import PeerError
from relay.wire import decode, encode, is_onion

_VERSION = 1
_HOST_LIMIT = 512
"""Bytes of one host in the file at most."""


@dataclass(slots=True)
class Host:
    """Times are Unix seconds, 0 where it never happened."""

    onion: str
    seed: bool = False
    teller: str = ""
    """Who named it first: an onion name, or empty where it did itself."""
    root: str = ""
    """The seed at the beginning of the chain of tellers, or empty."""
    learned: float = 0.0
    first_answer: float = 0.0
    answered: float = 0.0
    """When it answered last, whatever the answer was worth."""
    silences: int = 0
    """Pulls in a row that found nobody."""
    demerits: int = 0
    """Grows with every pull that was wasted by its fault, shrinks with every good one."""
    not_before: float = 0.0
    """It is not asked again before this."""


class _Row(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    onion: str
    seed: bool
    teller: str
    root: str
    learned: float
    first_answer: float
    answered: float
    silences: int
    demerits: int
    not_before: float


class _File(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    version: int
    hosts: tuple[_Row, ...]


_NAMES = tuple(field.name for field in fields(Host))


def write_hosts(hosts: Iterable[Host]) -> bytes:
    """The file's content, in the order of names, which says nothing of who came when."""
    ordered = sorted(hosts, key=lambda host: host.onion)
    rows = tuple(_Row(*(getattr(host, name) for name in _NAMES)) for host in ordered)
    return encode(_File(_VERSION, rows))


def read_hosts(data: bytes, most: int) -> list[Host]:
    """At most `most` hosts.  Raises `PeerError` where the file is damaged."""
    file = decode(data, _File, limit=most * _HOST_LIMIT)
    hosts = [Host(*(getattr(row, name) for name in _NAMES)) for row in file.hosts]
    names = {host.onion for host in hosts}
    sound = all(is_onion(host.onion) and host.silences >= 0 and host.demerits >= 0 for host in hosts)
    if file.version != _VERSION or not sound or len(names) != len(hosts) or len(hosts) > most:
        raise PeerError("malformed")
    return hosts

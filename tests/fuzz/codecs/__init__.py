"""All codecs that read what somebody else wrote.  A new one is one line in the table of its package."""

from tests.fuzz.codec import Codec
from tests.fuzz.codecs import (
    agent,
    caching,
    dishonest_agent,
    identity,
    lines,
    publishing,
    reflector,
    sealed,
    sip,
    tor,
    wire,
    zrtp,
)

_TABLES = (
    wire,
    identity,
    publishing,
    sealed,
    caching,
    reflector,
    dishonest_agent,
    lines,
    sip,
    tor,
    zrtp,
    agent,
)

CODECS: tuple[Codec, ...] = tuple(codec for table in _TABLES for codec in table.CODECS)


def named(name: str) -> Codec:
    """Raises `KeyError`."""
    return {codec.name: codec for codec in CODECS}[name]

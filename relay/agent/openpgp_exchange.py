"""Signatures over a call's keys, passed in its cells: sans-IO, one object for one call.

What is signed is derived from the exported key (RFC 6189 section 4.5.2) and names nobody: whoever does not have the key
cannot tell which call a signature is of.  Each side's is another value, so that none
can be sent back as one's own.

A signature is said again until the other side says that it has it; cells get lost, and nobody waits for it.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import msgspec

from relay import wire
from relay.agent.openpgp import MOST_SIGNATURE
from relay.agent.voice_security import Agreement
from relay.core import MisuseError, PeerError
from relay.zrtp import HashType
from relay.zrtp.key_schedule import kdf

REPEAT_SECONDS = 5.0
TIMES = 6
SILENCE_SECONDS = 120.0
"""How long the other side's user may look for a passphrase."""
MOST_RECEIPTS = 2 * TIMES
MOST_MESSAGE = MOST_SIGNATURE + 16
_VALUE_BITS = 256


class _Kind(StrEnum):
    SIGNATURE = "s"
    RECEIPT = "r"


class _Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    kind: _Kind
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class Say:
    """Let the other agent have this in the cells."""

    message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Check:
    """Have GnuPG check the other side's signature over `statement`."""

    statement: bytes = field(repr=False)
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Silent:
    """No signature came."""


Effect: TypeAlias = Say | Check | Silent


def statement(exported_key: bytes, signer_zid: bytes, reader_zid: bytes) -> bytes:
    """What one side signs: one line for people who look at it, and one value (section 4.5.1)."""
    value = kdf(HashType.S256, exported_key, "OpenPGP session", signer_zid + reader_zid, _VALUE_BITS)
    return f"Bayonne voice session\n{value.hex()}\n".encode()


def read_message(data: bytes) -> bytes | None:
    """The signature in it; None for a receipt.  Raises `PeerError`."""
    message = wire.decode(data, _Message, limit=MOST_MESSAGE)
    if (message.kind is _Kind.SIGNATURE) != (0 < len(message.signature) <= MOST_SIGNATURE):
        raise PeerError("malformed")
    return message.signature or None


def write_message(signature: bytes | None) -> bytes:
    """A signature, or the receipt for one."""
    return wire.encode(
        _Message(_Kind.SIGNATURE, signature) if signature is not None else _Message(_Kind.RECEIPT)
    )


class SignatureExchange:
    """From the moment when there are keys to the end of the call."""

    def __init__(self, agreed: Agreement, now: float) -> None:
        """Raises `MisuseError` where nothing was exported: a statement over nothing would fit every call."""
        if len(agreed.exported_key) < HashType.S256.size:
            raise MisuseError("a signature is over the key of a call")
        self.own_statement = statement(agreed.exported_key, agreed.own_zid, agreed.peer_zid)
        self._peer_statement = statement(agreed.exported_key, agreed.peer_zid, agreed.own_zid)
        self._message = b""
        self._left = 0
        self._next: float | None = None
        self._silent_at: float | None = now + SILENCE_SECONDS
        self._receipts = 0

    @property
    def deadline(self) -> float | None:
        """When `due` is to be called next."""
        return min((at for at in (self._next, self._silent_at) if at is not None), default=None)

    def signed(self, signature: bytes, now: float) -> list[Effect]:
        """The user's own GnuPG signed `own_statement`."""
        self._message, self._left, self._next = write_message(signature), TIMES, now
        return self.due(now)

    def receive(self, data: bytes, now: float) -> list[Effect]:
        """What the other agent said.  Raises `PeerError`."""
        signature = read_message(data)
        if signature is None:
            self._next = None
            return []
        effects: list[Effect] = []
        if self._receipts < MOST_RECEIPTS:
            self._receipts += 1
            effects.append(Say(write_message(None)))
        if self._receipts == 1 and len(effects) == 1:
            # The first one counts: who sends others wants us to try until one fits.
            self._silent_at = None
            effects.append(Check(self._peer_statement, signature))
        return effects

    def due(self, now: float) -> list[Effect]:
        """What the time asks for."""
        effects: list[Effect] = []
        if self._next is not None and now >= self._next:
            effects.append(Say(self._message))
            self._left -= 1
            self._next = now + REPEAT_SECONDS if self._left else None
        if self._silent_at is not None and now >= self._silent_at:
            self._silent_at = None
            effects.append(Silent())
        return effects

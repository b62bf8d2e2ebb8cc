"""Which ticket numbers the plain data plane hands up: those it was told, and those that carry their own proof."""

import hmac
from collections.abc import Sequence
from enum import Enum, auto

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.core import MisuseError
from relay.media_reflector.forwarding.face import (
    CHECK_KEY_SIZE,
    CHECK_SIZE,
    MAX_CHECK_KEYS,
    MAX_FORBIDDEN,
    TICKET_ID_SIZE,
)


class Origin(Enum):
    """Why a number is handed up."""

    PERMITTED = auto()
    OWN = auto()
    LEFT = auto()


class _Held:
    """A check key, and the numbers that check under it and were forbidden."""

    __slots__ = ("aead", "forbidden", "origin")

    def __init__(self, key: bytes) -> None:
        self.aead = AESGCM(key)
        self.origin = Origin.OWN
        self.forbidden: dict[bytes, None] = {}
        """Oldest first."""

    def checks(self, ticket_id: bytes) -> bool:
        number, check = ticket_id[:-CHECK_SIZE], ticket_id[-CHECK_SIZE:]
        return hmac.compare_digest(self.aead.encrypt(number + bytes(4), b"", None)[:CHECK_SIZE], check)

    def forbid(self, ticket_id: bytes) -> None:
        self.forbidden.setdefault(ticket_id)
        if len(self.forbidden) > MAX_FORBIDDEN:
            del self.forbidden[next(iter(self.forbidden))]


class TicketGate:
    """Numbers that are permitted one by one, and keys under which others check."""

    __slots__ = ("_keys", "_permitted")

    def __init__(self) -> None:
        self._permitted: set[bytes] = set()
        self._keys: dict[bytes, _Held] = {}
        """By key, in the order in which they are tried."""

    def permit(self, ticket_id: bytes) -> None:
        _check_size(ticket_id)
        self._permitted.add(ticket_id)
        for held in self._keys.values():
            held.forbidden.pop(ticket_id, None)

    def forbid(self, ticket_id: bytes) -> None:
        _check_size(ticket_id)
        self._permitted.discard(ticket_id)
        held = self._maker(ticket_id)
        if held is not None:
            held.forbid(ticket_id)

    def check_keys(self, own: Sequence[bytes], left: Sequence[bytes]) -> None:
        """Take these in place of all earlier ones; what was forbidden under one that stays is still forbidden."""
        if len(own) + len(left) > MAX_CHECK_KEYS or any(len(key) != CHECK_KEY_SIZE for key in (*own, *left)):
            raise MisuseError("at most 16 check keys, of 16 bytes each")
        before, self._keys = self._keys, {}
        for keys, origin in ((own, Origin.OWN), (left, Origin.LEFT)):
            for key in keys:
                if key not in self._keys:
                    held = self._keys[key] = before.get(key) or _Held(key)
                    held.origin = origin

    def origin(self, ticket_id: bytes) -> Origin | None:
        """Why a first message with this number is to be handed up; None when it is not."""
        if ticket_id in self._permitted:
            return Origin.PERMITTED
        held = self._maker(ticket_id)
        return None if held is None or ticket_id in held.forbidden else held.origin

    def _maker(self, ticket_id: bytes) -> _Held | None:
        return next((held for held in self._keys.values() if held.checks(ticket_id)), None)


def _check_size(ticket_id: bytes) -> None:
    if len(ticket_id) != TICKET_ID_SIZE:
        raise MisuseError("a ticket's number has 16 bytes")

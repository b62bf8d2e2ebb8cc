"""Which ticket numbers the plain data plane hands up: those it was told, and those that carry their own proof."""

import hmac
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.core import MisuseError
from relay.media_reflector.forwarding.face import (
    CHECK_KEY_SIZE,
    CHECK_SIZE,
    MAX_CHECK_KEYS,
    TICKET_ID_SIZE,
)


class TicketGate:
    """Numbers that are permitted one by one, and keys under which others check."""

    __slots__ = ("_keys", "_permitted")

    def __init__(self) -> None:
        self._permitted: set[bytes] = set()
        self._keys: list[AESGCM] = []

    def permit(self, ticket_id: bytes) -> None:
        if len(ticket_id) != TICKET_ID_SIZE:
            raise MisuseError("a ticket's number has 16 bytes")
        self._permitted.add(ticket_id)

    def forbid(self, ticket_id: bytes) -> None:
        self._permitted.discard(ticket_id)

    def check_keys(self, keys: Sequence[bytes]) -> None:
        """Take these in place of all earlier ones."""
        if len(keys) > MAX_CHECK_KEYS or any(len(key) != CHECK_KEY_SIZE for key in keys):
            raise MisuseError("at most 16 check keys, of 16 bytes each")
        self._keys = [AESGCM(key) for key in keys]

    def admits(self, ticket_id: bytes) -> bool:
        return ticket_id in self._permitted or any(_checks(ticket_id, key) for key in self._keys)


def _checks(ticket_id: bytes, key: AESGCM) -> bool:
    number, check = ticket_id[:-CHECK_SIZE], ticket_id[-CHECK_SIZE:]
    return hmac.compare_digest(key.encrypt(number + bytes(4), b"", None)[:CHECK_SIZE], check)

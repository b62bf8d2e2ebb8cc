"""A key from which any number of tickets can be made, and known again without a table.

A ticket's number is 8 random bytes and 8 bytes of check (forwarding/face.py says how it is made); its secret is derived
from key and number.  Both look random to who does not have the key.
"""

import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.core import Entropy
from relay.media_reflector.epochs import expand
from relay.media_reflector.forwarding.face import CHECK_KEY_SIZE, CHECK_SIZE, TICKET_ID_SIZE

KEY_SIZE = 32
PICK_SIZE = TICKET_ID_SIZE - CHECK_SIZE
"""Random bytes in a number."""

_NONCE_FILL = bytes(4)
_CHECK = b"bayonne ticket check key"
_SECRET = b"bayonne ticket secret"


class SealingKey:
    """`check_key` is what the data plane knows of it: enough to tell our numbers from others, not to open a line."""

    __slots__ = ("_aead", "check_key", "key")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.check_key = expand(key, _CHECK)[:CHECK_KEY_SIZE]
        self._aead = AESGCM(self.check_key)

    def number(self, entropy: Entropy) -> bytes:
        """A fresh ticket number."""
        return self.number_of(entropy.token(PICK_SIZE))

    def number_of(self, pick: bytes) -> bytes:
        """The number that begins with `pick`."""
        return pick + self._check(pick)

    def made(self, number: bytes) -> bool:
        """Whether a number was made under this key; compares in constant time."""
        return len(number) == TICKET_ID_SIZE and hmac.compare_digest(
            self._check(number[:PICK_SIZE]), number[PICK_SIZE:]
        )

    def secret(self, number: bytes) -> bytes:
        """The secret of the ticket with that number."""
        return expand(self.key, _SECRET + number)

    def _check(self, pick: bytes) -> bytes:
        return self._aead.encrypt(pick + _NONCE_FILL, b"", None)[:CHECK_SIZE]

"""The first message of a handshake: what a reflector sees before it decides to compute anything.

148 bytes that look random: ticket number (16), masked ephemeral key (32), encrypted payload (52) and its tag (16),
cookie (16), mac (16).  The mac, under a key from the ticket's secret, is checked before any Diffie-Hellman; so only who
has a ticket's secret can make the reflector work.  The ephemeral key is masked with bytes derived from the ticket's
secret, because a bare X25519 key can be told from random bytes.
"""

import hmac

from relay.media_reflector.epochs import expand
from relay.media_reflector.forwarding.face import TICKET_ID_SIZE
from relay.media_reflector.noise import KEY_SIZE, TAG_SIZE
from relay.media_reflector.tickets import Ticket
from relay.rtp.cell import CELL_SIZE, RTP_HEADER_SIZE

MESSAGE_SIZE = CELL_SIZE - RTP_HEADER_SIZE
COOKIE_SIZE = 16
MAC_SIZE = 16
MAC_AT = MESSAGE_SIZE - MAC_SIZE
COOKIE_AT = MAC_AT - COOKIE_SIZE
FIRST_PAYLOAD_SIZE = COOKIE_AT - TICKET_ID_SIZE - KEY_SIZE - TAG_SIZE
_MAC = b"bayonne handshake first mac"
_MASK = b"bayonne handshake mask "


def ticket_number(message: bytes) -> bytes:
    """The number of the ticket that a first message claims."""
    return message[:TICKET_ID_SIZE]


def cookie_of(message: bytes) -> bytes:
    """The cookie that a first message carries, or random bytes in its place."""
    return message[COOKIE_AT:MAC_AT]


def first_core(message: bytes) -> bytes:
    """What stays the same when a first message is repeated with a cookie in it."""
    return message[:COOKIE_AT]


def mask(secret: bytes, label: bytes, message: bytes) -> bytes:
    """`message` with its first 32 bytes masked or unmasked; a ticket's secret is used for one handshake only."""
    stream = int.from_bytes(expand(secret, _MASK + label))
    masked = int.from_bytes(message[:KEY_SIZE]) ^ stream
    return masked.to_bytes(KEY_SIZE) + message[KEY_SIZE:]


def first_is_authentic(message: bytes, ticket: Ticket) -> bool:
    """Whether who made `message` has the ticket's secret.  Costs two HMACs, compares in constant time."""
    if len(message) != MESSAGE_SIZE:
        return False
    return hmac.compare_digest(_mac(ticket.secret, message[:MAC_AT]), message[MAC_AT:])


def noise_part(message: bytes, secret: bytes) -> bytes:
    """The Noise message inside a first message."""
    return mask(secret, b"first", message[TICKET_ID_SIZE:COOKIE_AT])


class FirstMessage:
    """What an opener repeats until it is answered, with the cookie that it was last told to bring."""

    __slots__ = ("_core", "_secret", "message")

    def __init__(self, ticket: Ticket, noise_message: bytes, cookie: bytes) -> None:
        """`cookie` is random at first."""
        self._secret = ticket.secret
        self._core = ticket.id + mask(ticket.secret, b"first", noise_message)
        self.bring(cookie)

    def bring(self, cookie: bytes) -> None:
        """Carry `cookie` from now on."""
        message = self._core + cookie
        self.message = message + _mac(self._secret, message)


def _mac(secret: bytes, data: bytes) -> bytes:
    return hmac.digest(expand(secret, _MAC), data, "sha256")[:MAC_SIZE]


assert (COOKIE_AT, FIRST_PAYLOAD_SIZE) == (116, 52)

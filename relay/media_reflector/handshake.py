"""The handshake that opens a line: two cells that look like any other, four where the reflector is under load.

After the RTP header the first message holds what first_message.py says; the answer holds a masked ephemeral key (32
bytes) and 100 encrypted bytes with their tag, or, where a cookie is asked for, what cookie.py says.
"""

import hmac
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.core import Entropy, PeerError
from relay.media_reflector.cookie import read_cookie
from relay.media_reflector.epochs import EpochChain
from relay.media_reflector.first_message import (
    COOKIE_SIZE,
    FIRST_PAYLOAD_SIZE,
    MESSAGE_SIZE,
    FirstMessage,
    first_core,
    first_is_authentic,
    mask,
    noise_part,
    ticket_number,
)
from relay.media_reflector.noise import KEY_SIZE, NK, TAG_SIZE, Initiator, Responder, read_public_key
from relay.media_reflector.tickets import Ticket

__all__ = [
    "MESSAGE_SIZE",
    "AgentHandshake",
    "answer_handshake",
    "first_core",
    "first_is_authentic",
    "ticket_number",
]

ANSWER_PAYLOAD_SIZE = MESSAGE_SIZE - KEY_SIZE - TAG_SIZE
VERSION = 2
_SSRC_SIZE = 4
_PROLOGUE = b"bayonne line 2\0"


def _payload(ssrc: int, size: int) -> bytes:
    return (bytes((VERSION,)) + ssrc.to_bytes(_SSRC_SIZE)).ljust(size, b"\0")


def _read_ssrc(payload: bytes) -> int:
    if payload[0] != VERSION:
        raise PeerError("unknown handshake version")
    return int.from_bytes(payload[1 : 1 + _SSRC_SIZE])


@lru_cache(maxsize=2)
def _start(static: X25519PrivateKey) -> bytes:
    """Where every handshake with this key begins; a reflector has one key for as long as it runs."""
    return NK.start(_PROLOGUE, b"", static.public_key().public_bytes_raw())


def _chain(noise: Initiator | Responder, up_ssrc: int, down_ssrc: int) -> EpochChain:
    """The line's epochs out of a finished handshake: both keys of `Split()`, bound to all that was said."""
    one, other = noise.split()
    return EpochChain(hmac.digest(noise.handshake_hash, one + other, "sha256"), (up_ssrc, down_ssrc))


class AgentHandshake:
    """The agent's side.  `first()` is the message that it repeats until it is answered; `cookies` counts how often the
    reflector asked for one."""

    __slots__ = ("_first", "_noise", "_secret", "_ssrc", "cookies")

    def __init__(self, ticket: Ticket, reflector_static: bytes, ssrc: int, entropy: Entropy) -> None:
        """`ssrc` is that of the RTP headers that the first message goes out under.  Raises `PeerError` when
        `reflector_static` is no key."""
        self.cookies = 0
        self._secret = ticket.secret
        self._ssrc = ssrc
        start = NK.start(_PROLOGUE, b"", reflector_static)
        self._noise = Initiator(NK, start, ticket.secret, None, read_public_key(reflector_static))
        message = self._noise.write(_payload(ssrc, FIRST_PAYLOAD_SIZE), entropy.token(KEY_SIZE))
        self._first = FirstMessage(ticket, message, entropy.token(COOKIE_SIZE))

    def first(self) -> bytes:
        """The first message, with the cookie that came last."""
        return self._first.message

    def answered(self, message: bytes) -> tuple[int, EpochChain] | None:
        """(SSRC of the way down, the line's epochs), or None when this is not the answer; a later one still can be.

        A request to bring a cookie is taken in silently: the next `first()` has it.
        """
        if len(message) != MESSAGE_SIZE:
            return None
        if (cookie := read_cookie(message, self._secret)) is not None:
            self.cookies += 1
            self._first.bring(cookie)
            return None
        try:
            # Reading garbage would spend the state, so a copy is tried.
            noise = self._noise.copy()
            ssrc = _read_ssrc(noise.read(mask(self._secret, b"answer", message)))
        except PeerError:
            return None
        return ssrc, _chain(noise, self._ssrc, ssrc)


def answer_handshake(
    message: bytes,
    ticket: Ticket,
    static: X25519PrivateKey,
    claimed_ssrc: int,
    choose_ssrc: int,
    entropy: Entropy,
) -> tuple[bytes, EpochChain]:
    """(the answer's 148 bytes, the line's epochs) for an authentic first message.

    `claimed_ssrc` is that of the RTP header it came under, `choose_ssrc` ours for the way down.  Raises
    `PeerError`, before any Diffie-Hellman where the mac is wrong.
    """
    if not first_is_authentic(message, ticket):
        raise PeerError("wrong handshake mac")
    noise = Responder(NK, _start(static), ticket.secret, static, None)
    payload = noise.read(noise_part(message, ticket.secret))
    if _read_ssrc(payload) != claimed_ssrc:
        raise PeerError("handshake under another SSRC")
    answer = noise.write(_payload(choose_ssrc, ANSWER_PAYLOAD_SIZE), entropy.token(KEY_SIZE))
    return mask(ticket.secret, b"answer", answer), _chain(noise, claimed_ssrc, choose_ssrc)

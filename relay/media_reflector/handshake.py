"""The handshake that opens a line: two cells that look like any other.

After the RTP header the first holds the ticket's number (16 bytes), the ephemeral key (32) and 84 encrypted
bytes with their tag; the answer holds an ephemeral key and 100 encrypted bytes with theirs.  Both ephemeral
keys are masked with bytes derived from the ticket's secret, because a bare X25519 key can be told from random
bytes.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from relay.core import Entropy, PeerError
from relay.media_reflector.noise import KEY_SIZE, TAG_SIZE, NKpsk0Initiator, NKpsk0Responder
from relay.media_reflector.tickets import TICKET_ID_SIZE, Ticket
from relay.rtp.cell import CELL_SIZE, RTP_HEADER_SIZE
from relay.rtp.srtp import MASTER_KEY_SIZE, MASTER_SALT_SIZE, AeadSrtp, derive_session_keys

MESSAGE_SIZE = CELL_SIZE - RTP_HEADER_SIZE
FIRST_PAYLOAD_SIZE = MESSAGE_SIZE - TICKET_ID_SIZE - KEY_SIZE - TAG_SIZE
ANSWER_PAYLOAD_SIZE = MESSAGE_SIZE - KEY_SIZE - TAG_SIZE
VERSION = 1
_SSRC_SIZE = 4
_PROLOGUE = b"bayonne line 1\0"


@dataclass(frozen=True, slots=True)
class LinkContexts:
    """The two directions of an open line, from its agent's point of view."""

    up: AeadSrtp
    down: AeadSrtp


def _contexts(up_key: bytes, down_key: bytes) -> LinkContexts:
    return LinkContexts(_context(up_key), _context(down_key))


def _context(key: bytes) -> AeadSrtp:
    material = HKDFExpand(SHA256(), MASTER_KEY_SIZE + MASTER_SALT_SIZE, b"bayonne link master").derive(key)
    return AeadSrtp(derive_session_keys(material[:MASTER_KEY_SIZE], material[MASTER_KEY_SIZE:]))


def _mask(secret: bytes, label: bytes, message: bytes) -> bytes:
    """`message` with its first 32 bytes masked or unmasked; a ticket's secret is used for one handshake
    only."""
    mask = HKDFExpand(SHA256(), KEY_SIZE, b"bayonne handshake mask " + label).derive(secret)
    masked = int.from_bytes(message[:KEY_SIZE]) ^ int.from_bytes(mask)
    return masked.to_bytes(KEY_SIZE) + message[KEY_SIZE:]


def _payload(ssrc: int, size: int) -> bytes:
    return (bytes((VERSION,)) + ssrc.to_bytes(_SSRC_SIZE)).ljust(size, b"\0")


def _read_ssrc(payload: bytes) -> int:
    if payload[0] != VERSION:
        raise PeerError("unknown handshake version")
    return int.from_bytes(payload[1 : 1 + _SSRC_SIZE])


class AgentHandshake:
    """The agent's side.  `first` is the message that it repeats until it is answered."""

    __slots__ = ("_noise", "_secret", "first")

    def __init__(self, ticket: Ticket, reflector_static: bytes, ssrc: int, entropy: Entropy) -> None:
        self._secret = ticket.secret
        self._noise = NKpsk0Initiator(_PROLOGUE, ticket.secret, reflector_static, entropy.token(KEY_SIZE))
        message = self._noise.write(_payload(ssrc, FIRST_PAYLOAD_SIZE))
        self.first = ticket.id + _mask(ticket.secret, b"first", message)

    def answered(self, message: bytes) -> tuple[int, LinkContexts] | None:
        """(SSRC of the way down, link contexts), or None when this is not the answer; a later one still can
        be."""
        try:
            # Reading garbage would spend the state, so a copy is tried.
            noise = self._noise.copy()
            ssrc = _read_ssrc(noise.read(_mask(self._secret, b"answer", message)))
        except PeerError:
            return None
        up, down = noise.split()
        return ssrc, _contexts(up.key, down.key)


def ticket_number(message: bytes) -> bytes:
    """The number of the ticket that a first message claims."""
    return message[:TICKET_ID_SIZE]


def answer_handshake(
    message: bytes,
    ticket: Ticket,
    static: X25519PrivateKey,
    claimed_ssrc: int,
    choose_ssrc: int,
    entropy: Entropy,
) -> tuple[bytes, LinkContexts]:
    """(the answer's 148 bytes, link contexts) for an authentic first message.

    `claimed_ssrc` is that of the RTP header it came under, `choose_ssrc` ours for the way down.  Raises
    `PeerError`.
    """
    noise = NKpsk0Responder(_PROLOGUE, ticket.secret, static)
    payload = noise.read(_mask(ticket.secret, b"first", message[TICKET_ID_SIZE:]))
    if _read_ssrc(payload) != claimed_ssrc:
        raise PeerError("handshake under another SSRC")
    answer = noise.write(_payload(choose_ssrc, ANSWER_PAYLOAD_SIZE), entropy.token(KEY_SIZE))
    up, down = noise.split()
    return _mask(ticket.secret, b"answer", answer), _contexts(up.key, down.key)

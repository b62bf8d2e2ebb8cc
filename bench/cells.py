"""What one cell costs each role in plain Python, beside libsrtp doing the same link encryption.

The data plane proper is measured with sockets and a load (`bench.relays`); this is the agent's side, and the twin's.
"""

import statistics
import time
from collections.abc import Callable

import pylibsrtp

from bench.report import Row, reported
from relay.rtp import (
    AeadSrtp,
    ContentPacker,
    ContentUnpacker,
    EndToEndOpener,
    EndToEndSealer,
    derive_session_keys,
)
from relay.rtp.cell import LINK_PAYLOAD_SIZE
from relay.rtp.packet import pack_header

ROUNDS = 7
CELLS = 4000
KEY, SALT = bytes(range(16)), bytes(range(12))


def microseconds(work: Callable[[], object], rounds: int) -> float:
    """CPU time per cell of `work`, which handles `CELLS` of them: the median of some rounds."""
    found = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        found.append((time.process_time() - begun) / CELLS * 1e6)
    return statistics.median(found)


def ours() -> None:
    """Link encryption and decryption as the agents do it."""
    keys = derive_session_keys(KEY, SALT)
    sealer, opener = AeadSrtp(keys), AeadSrtp(keys)
    payload = bytes(LINK_PAYLOAD_SIZE)
    for sequence in range(CELLS):
        opener.unprotect(sealer.protect(pack_header(96, sequence & 0xFFFF, 960 * sequence, 7), payload))


def libsrtp() -> None:
    """The same packets through libsrtp."""

    def session(kind: int) -> pylibsrtp.Session:
        policy = pylibsrtp.Policy(
            key=KEY + SALT, ssrc_type=kind, srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM
        )
        return pylibsrtp.Session(policy)

    sealer = session(pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    opener = session(pylibsrtp.Policy.SSRC_ANY_INBOUND)
    payload = bytes(LINK_PAYLOAD_SIZE)
    for sequence in range(CELLS):
        opener.unprotect(sealer.protect(pack_header(96, sequence & 0xFFFF, 960 * sequence, 7) + payload))


def end_to_end() -> None:
    """What the two agents do to one voice frame: pack, seal, open, unpack."""
    packer, unpacker = ContentPacker(), ContentUnpacker()
    sealer, opener = EndToEndSealer(bytes(32)), EndToEndOpener(bytes(32))
    voice = bytes(72)
    for _ in range(CELLS):
        packer.offer_voice(voice)
        content = opener.open(sealer.seal(packer.next()))
        assert content is not None
        unpacker.receive(content, 0.0)


def measure(*, quick: bool) -> list[Row]:
    """All rows; none has a target."""
    rounds = 3 if quick else ROUNDS
    link, peer, voice = (microseconds(work, rounds) for work in (ours, libsrtp, end_to_end))
    how = f"CPU time per cell, median of {rounds} rounds of {CELLS}"
    return [
        reported("agent: link encryption, there and back, us", link, how),
        reported("the same by libsrtp (pylibsrtp), us", peer, how),
        reported("agent: link encryption against libsrtp, times", link / peer, "same run"),
        reported("agent: voice frame, both ends' end-to-end layer, us", voice, how),
    ]

"""What is sealed of an end: written, read back, refused where something is missing."""

from dataclasses import replace

import pytest

from relay.agent.sealed_voice import END_ATTRIBUTE, SealedVoice
from relay.agent.voice_security import End
from relay.core import PeerError
from relay.sip.line_voice import NEUTRAL, LineVoice
from relay.sip.sdp import SessionDescription
from relay.sip.zrtp_hash import ATTRIBUTE

HASH = f"1.10 {1:064x}"
PHONES = SealedVoice(End.PHONE, LineVoice(111, ((112, 48_000), (113, 8_000))), (HASH, f"1.12 {2:064x}"))


@pytest.mark.parametrize("voice", [PHONES, SealedVoice(End.AGENT, NEUTRAL, (HASH,))])
def test_what_is_written_is_read_back(voice: SealedVoice) -> None:
    assert SealedVoice.read(SessionDescription.parse(voice.session(1).to_bytes())) == voice


def test_an_agents_is_the_same_for_everybody_but_for_its_hash() -> None:
    one, other = (SealedVoice(End.AGENT, NEUTRAL, (f"1.10 {n:064x}",)).session(1).to_bytes() for n in (1, 2))
    assert one.replace(b"1\r\n", b"2\r\n") == other.replace(b"1\r\n", b"2\r\n")


@pytest.mark.parametrize(
    "missing",
    [
        lambda media: replace(media, formats=("0",)),
        lambda media: replace(media, attributes=tuple(one for one in media.attributes if one[0] != ATTRIBUTE)),
        lambda media: replace(
            media, attributes=tuple(one for one in media.attributes if one[0] != END_ATTRIBUTE)
        ),
        lambda media: replace(
            media,
            attributes=tuple((name, "nobody" if name == END_ATTRIBUTE else value) for name, value in media.attributes),
        ),
    ],
)  # fmt: skip
def test_without_opus_zrtp_or_an_end_it_is_the_peers_fault(missing) -> None:  # type: ignore[no-untyped-def]
    session = PHONES.session(1)
    with pytest.raises(PeerError):
        SealedVoice.read(replace(session, media=(missing(session.media[0]),)))

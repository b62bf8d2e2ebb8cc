"""What one side of a call tells the other of its ZRTP end, in the session description that travels sealed."""

from dataclasses import dataclass

from relay.agent.voice_security import End
from relay.core import PeerError
from relay.sip.line_voice import LineVoice
from relay.sip.opus_offer import line_offer
from relay.sip.sdp import SessionDescription
from relay.sip.zrtp_hash import zrtp_hashes

END_ATTRIBUTE = "x-bayonne-zrtp-end"
NOWHERE = "192.0.2.1"
"""A documentation address (RFC 5737): voice goes in cells."""
_PORT = 9


@dataclass(frozen=True, slots=True)
class SealedVoice:
    """Who the end is, under which payload types it takes voice and keys, and the hashes of its Hello."""

    end: End
    line: LineVoice
    zrtp_hashes: tuple[str, ...]

    def session(self, session_id: int) -> SessionDescription:
        """As it is sealed: all of it but what the dialog adds."""
        offer = line_offer(self.line, self.zrtp_hashes, address=NOWHERE, port=_PORT, session_id=session_id)
        return offer.extended(((END_ATTRIBUTE, self.end.value),))

    @classmethod
    def read(cls, session: SessionDescription) -> "SealedVoice":
        """Raises `PeerError`: no end of ours talks to one that does not announce ZRTP."""
        media = session.media[0]
        line, hashes = LineVoice.of(media), zrtp_hashes(media)
        if line is None:
            raise PeerError("no Opus", "RFC 7587 section 7")
        if not hashes:
            raise PeerError("no ZRTP announced", "RFC 6189 section 8")
        end = media.attribute(END_ATTRIBUTE)
        if end not in list(End):
            raise PeerError("no end of ZRTP")
        return cls(End(end), line, hashes)

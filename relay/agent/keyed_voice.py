"""The keyed end of one call's cells: contents packed and sealed for the peer, the peer's opened and unpacked."""

from relay.forward_publish import CallKeys
from relay.rtp import ContentPacker, ContentUnpacker, Datagram, EndToEndOpener, EndToEndSealer


class KeyedVoice:
    """Lives as long as the call's keys do."""

    def __init__(self, keys: CallKeys) -> None:
        self.packer = ContentPacker()
        self.join_code = keys.join_code
        self._unpacker = ContentUnpacker()
        self._sealer = EndToEndSealer(keys.send)
        self._opener = EndToEndOpener(keys.receive)

    @property
    def received(self) -> int:
        """Bodies of the peer's that opened."""
        return self._opener.counters["opened"]

    @property
    def lost(self) -> int:
        """Bodies of the peer's that never came."""
        return self._opener.lost

    def next_body(self) -> bytes:
        """The body of the next cell: voice, control, or padding alone."""
        return self._sealer.seal(self.packer.next())

    def open(self, body: bytes, now: float) -> list[Datagram] | None:
        """What a body carried, perhaps nothing; None where the peer did not make it."""
        content = self._opener.open(body)
        return None if content is None else self._unpacker.receive(content, now)

"""The keyed end of one call's cells: contents packed and sealed for the peer, the peer's opened and unpacked.

Every few minutes the two ends agree on new keys, in the same cells.
"""

from relay.core import Entropy, wipe
from relay.forward_publish import CallEpochs, CallKeys, Expect, GoOn, Say, join_code
from relay.rtp import ContentPacker, ContentUnpacker, Datagram, EndToEndOpener, EndToEndSealer, Kind


class KeyedVoice:
    """Lives as long as the call's keys do."""

    def __init__(self, keys: CallKeys, entropy: Entropy) -> None:
        self.packer = ContentPacker()
        # Not `keys` itself: those of the first epoch would be there for as long as the call lasts.
        self._again = keys.again
        self._unpacker = ContentUnpacker()
        self._sealer = EndToEndSealer(keys.send)
        self._opener = EndToEndOpener(keys.receive)
        self._epochs = CallEpochs(keys.send, keys.receive, entropy)

    @property
    def received(self) -> int:
        """Bodies of the peer's that opened."""
        return self._opener.counters["opened"]

    @property
    def lost(self) -> int:
        """Bodies of the peer's that never came."""
        return self._opener.lost

    @property
    def epoch(self) -> int:
        """How many times both ends have new keys since the call began."""
        return self._epochs.epoch

    def join_code(self, reflector: bytes) -> bytes:
        """See `relay.forward_publish.join_code`."""
        return join_code(self._again, reflector)

    def next_body(self) -> bytes:
        """The body of the next cell: voice, control, or padding alone."""
        self._epochs.tick()
        self._step()
        return self._sealer.seal(self.packer.next())

    def open(self, body: bytes, now: float) -> list[Datagram] | None:
        """What a body carried, perhaps nothing; None where the peer did not make it."""
        epoch = self._opener.epoch
        content = self._opener.open(body)
        if content is None:
            return None
        if self._opener.epoch != epoch:
            self._epochs.turned()
        datagrams = self._unpacker.receive(content, now)
        for datagram in datagrams:
            if datagram.kind is Kind.REKEY:
                self._epochs.receive(datagram.data)
        self._step()
        return [datagram for datagram in datagrams if datagram.kind is not Kind.REKEY]

    def forget(self) -> None:
        """The call is over: nothing is sealed or opened any more."""
        self._epochs.forget()

    def _step(self) -> None:
        for step in self._epochs.steps():
            match step:
                case Say(message):
                    self.packer.offer(Kind.REKEY, message)
                case Expect(key):
                    self._opener.expect(key)
                    wipe(key)
                case GoOn(key):
                    self._sealer.rekey(key)
                    wipe(key)

"""What comes in cells: under the link's right keys from a dishonest reflector or agent, and in the end-to-end layer.

Whatever it is, a line goes on: nothing that arrives is an error there, only a count.
"""

from collections.abc import Iterable

from relay.agent.phone_stream import PhoneStream
from relay.core import PeerError, SeededEntropy
from relay.media_reflector import LineClient, ReflectorKeys, Ticket
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.descriptor import ReflectorReference, verify_descriptor
from relay.media_reflector.handshake import answer_handshake
from relay.media_reflector.link import CellSender, cell_ssrc
from relay.rtp import (
    BODY_SIZE,
    CELL_SIZE,
    CONTENT_SIZE,
    AeadSrtp,
    ContentPacker,
    ContentUnpacker,
    EndToEndOpener,
    EndToEndSealer,
    Kind,
    PhoneFormat,
    RtpPacket,
    SrtpDrop,
    derive_session_keys,
)
from relay.rtp.cell import RTP_HEADER_SIZE
from relay.rtp.packet import pack_header
from tests.fuzz.codec import Codec, same, steady

_WALL = 1_800_000_000.0
_CODE = b"join code of 16 "


def _control(data: bytes) -> None:
    """A control body: what is known keeps its field, and every view of it can be looked at."""
    body = data.ljust(BODY_SIZE, b"\0")[:BODY_SIZE]
    control = Control.from_body(body)
    if control is None:
        raise PeerError("unknown operation")
    again = Control.from_body(control.to_body(SeededEntropy("fuzz")))
    same(again, control)
    _ = control.code, control.seconds, control.timestamp, control.identity
    if control.operation in (Operation.RESUMPTION, Operation.BACKUP):
        control.ticket(0.0)


def _controls() -> Iterable[bytes]:
    entropy = SeededEntropy("fuzz")
    ticket = Ticket.fresh(bytes(32), 600.0)
    for control in (
        Control(Operation.CROSSED, _CODE),
        Control.refused(_CODE, 60),
        Control.resumption(ticket, 0.0),
        Control.backup(bytes(32), ticket, 0.0),
        Control(Operation.CHALLENGE, bytes(16)),
        Control(Operation.REKEYED, bytes(31) + b"\x09"),
    ):
        yield control.to_body(entropy)


class _Reflector:
    """A reflector that has answered one handshake and now sends what the input says, under any of its keys."""

    def __init__(self) -> None:
        self._entropy = SeededEntropy("fuzz")
        keys = ReflectorKeys.generate(self._entropy)
        signed = keys.signed_descriptor("a" * 56, [("192.0.2.1", 7210)], _WALL, capacity=10)
        descriptor = verify_descriptor(signed, ReflectorReference("a" * 56, keys.public_identity), _WALL)
        ticket = Ticket.fresh(self._entropy.token(32), 600.0)
        self.line = LineClient(descriptor, ticket, self._entropy, join_code=_CODE)
        first = self.line.next_cell(0.0)
        answer, chain = answer_handshake(
            first[RTP_HEADER_SIZE:], ticket, keys.static_key, cell_ssrc(first), 7, self._entropy
        )
        sender = CellSender(7, self._entropy)
        self.line.receive(sender.handshake(answer), 0.0)
        following = chain.following
        self._senders = [
            CellSender(keys.ssrc, self._entropy, keys)
            for keys in (chain.current.down, chain.current.challenge(), following.down, following.challenge())
        ]
        # The header goes on where the answer left it.
        self._senders[0]._sequence_number = sender._sequence_number

    def send(self, way: int, kind: int, body: bytes) -> bytes:
        sender = self._senders[way % 4]
        assert sender.keys is not None
        return sender.keys.protect(sender._header(), bytes((kind,)) + body)


_STEP = 4


def _line(data: bytes) -> None:
    """Each step has 4 bytes (what is done, link type, operation, how long a field follows) and a field."""
    reflector, now = _Reflector(), 0.02
    line = reflector.line
    while data:
        step, data = data[:_STEP].ljust(_STEP, b"\0"), data[_STEP:]
        size = min(step[3] % 84, len(data))
        body, data = (step[2:3] + data[:size]).ljust(BODY_SIZE, b"\0"), data[size:]
        match step[0] & 0xF0:
            case 0xE0:
                line.move()
            case 0xF0:
                now += step[1] / 4
            case _:
                line.receive(reflector.send(step[0], step[1], body), now)
        if line.closed:
            break
        now += 0.02
        same(len(line.next_cell(now)), CELL_SIZE)
        line.events()
    line.close()
    for _ in range(4):
        if not line.closed:
            line.next_cell(now)


def _steps() -> Iterable[bytes]:
    def step(way: int, kind: int, body: bytes) -> bytes:
        return bytes((way, kind, body[0], len(body) - 1)) + body[1:]

    crossed = step(0, 2, bytes((Operation.CROSSED,)) + _CODE)
    challenge = bytes((Operation.CHALLENGE,)) + bytes(16)
    yield crossed + step(0, 1, b"voice") + step(0, 0, b"\0") + step(0, 2, bytes((Operation.DRAINING,)))
    yield crossed + bytes((0xE0, 0, 0, 0)) + step(1, 2, challenge) + step(2, 0, b"\0") + step(2, 1, b"more")
    yield step(0, 2, bytes((Operation.REFUSED,)) + _CODE + b"\0\x1e") + bytes((0xF0, 0xFF, 0, 0))
    yield step(0, 2, bytes((Operation.RESUMPTION,)) + bytes(50)) + step(
        0, 2, bytes((Operation.REKEYED,)) + bytes(32)
    )


def _cell_content(data: bytes) -> None:
    """Contents of several cells, one after the other, of an honest size and of any."""
    unpacker = ContentUnpacker()
    for start in range(0, len(data), CONTENT_SIZE):
        for datagram in unpacker.receive(data[start : start + CONTENT_SIZE].ljust(CONTENT_SIZE, b"\0"), 0.0):
            if not 0 < len(datagram.data) <= 4096:
                raise AssertionError("a datagram of an impossible size")
    ContentUnpacker().receive(data, 0.0)
    if unpacker.counters["malformed"]:
        raise PeerError("malformed")


def _contents() -> Iterable[bytes]:
    packer = ContentPacker()
    packer.offer_voice(b"V" * 84)
    packer.offer(Kind.ZRTP, b"Z" * 300)
    packer.offer_control(b"BYE")
    yield b"".join(packer.next() for _ in range(5))


_SESSION = derive_session_keys(bytes(16), bytes(12))
_HEADER = pack_header(111, 5, 0, 7)


def _srtp(data: bytes) -> None:
    """A packet of a stranger's, then a right one with `data` in it."""
    receiver = AeadSrtp(_SESSION)
    if isinstance(receiver.unprotect(data), bytes):
        raise AssertionError("authentic by chance")
    same(AeadSrtp(_SESSION).unprotect(AeadSrtp(_SESSION).protect(_HEADER, data)), data)
    same(isinstance(AeadSrtp(_SESSION).unprotect(_HEADER + data), SrtpDrop), True)


def _end_to_end(data: bytes) -> None:
    """A random body, and a contact's right one with any content."""
    opener = EndToEndOpener(bytes(32))
    same(opener.open(data), None)
    same(opener.open(data.ljust(BODY_SIZE, b"\0")[:BODY_SIZE]), None)
    content = data.ljust(CONTENT_SIZE, b"\0")[:CONTENT_SIZE]
    body = EndToEndSealer(bytes(32), counter=int.from_bytes(data[:5])).seal(content)
    opened = opener.open(body)
    if opened is None:
        raise PeerError("not the nearest counter")
    same(opened, content)


def _phone(data: bytes) -> None:
    """What a phone sends and what comes out of cells, made neutral: a plain header and nothing else of theirs."""
    stream = PhoneStream(SeededEntropy("fuzz"))
    stream.format = PhoneFormat(96, event_type=101)
    kept = [datagram.data for datagram in stream.from_phone(data) or ()]
    for packet in (*kept, *stream.hear(data)):
        same(packet[0], 0x80)
        RtpPacket.parse(packet)
    RtpPacket.parse(data)


def _packets() -> Iterable[bytes]:
    yield RtpPacket(96, 1, 960, 7, b"opus").to_bytes()
    yield bytes((0xB1, 0x60, 0, 1)) + bytes(8) + b"csrc" + b"\xbe\xde\0\1" + b"ext " + b"opus\0\0\0\4"


CODECS = (
    Codec("control", _control, _controls, longest=BODY_SIZE),
    Codec("line", _line, _steps, longest=1000),
    Codec("cell-content", _cell_content, _contents, longest=1000),
    Codec("link-srtp", _srtp, lambda: [_HEADER + bytes(148)], longest=300),
    Codec("end-to-end", _end_to_end, lambda: [bytes(BODY_SIZE)], longest=200),
    Codec("rtp-packet", steady(RtpPacket.parse, lambda packet: packet.to_bytes()), _packets, longest=300),
    Codec("phone-rtp", _phone, _packets, longest=300),
)

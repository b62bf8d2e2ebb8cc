"""ZRTP: packets, messages, SDP's hash, and whole exchanges in which one message is another one.

An input's first byte says what it is read as.  Two ends that both have keys and not the same ones are a finding, and so
is a message that does not come back as it went, and a SASrelay that opens.
"""

import contextlib
from collections.abc import Callable

from relay.core import PeerError
from relay.rtp.voice_srtp import SrtpReceiver, SrtpTag
from relay.zrtp.commit import Commit
from relay.zrtp.confirm import Confirm, ConfirmKeys
from relay.zrtp.dh_part import DhPart
from relay.zrtp.hello import Hello, is_newer_hello, read_hello_hash
from relay.zrtp.key_agreement import PUBLIC_SIZES
from relay.zrtp.messages import Ping, PingAck, build, passing, read, read_error, read_go_clear
from relay.zrtp.packet import PacketDrop, looks_like_zrtp, open_packet
from relay.zrtp.suites import HashType
from tests.fuzz.codec import Codec
from tests.zrtp.pair import Pair, Party, World, agree, from_party, message_of, rewrapped

KEYS = ConfirmKeys(HashType.S256, bytes(32), bytes(16))


def one_input(data: bytes) -> None:
    """Read `data` as what its first byte says."""
    if data:
        with contextlib.suppress(PeerError):
            _READERS[data[0] % len(_READERS)](data[1:])


def _packet(data: bytes) -> None:
    found, packet = passing(data), open_packet(data)
    assert looks_like_zrtp(data) or isinstance(packet, PacketDrop)
    if found is not None:
        assert not isinstance(packet, PacketDrop)
        assert found == (read(packet.message)[0], packet.message)


def _frame(data: bytes) -> None:
    kind, body = read(data)
    assert build(kind, body) == data


def _hello(data: bytes) -> None:
    hello = Hello.read(data)
    assert hello.message == data
    assert hello.offer.completed() == hello.offer
    assert not (is_newer_hello(hello.message) and hello.older)


def _commit(data: bytes) -> None:
    assert Commit.read(data).message == data


def _dh_part(data: bytes) -> None:
    for size in PUBLIC_SIZES.values():
        with contextlib.suppress(PeerError):
            assert len(DhPart.read(data, size).public_value) == size


def _confirm(data: bytes) -> None:
    confirm = Confirm.read_plain(data)
    assert Confirm.read_plain(confirm.plain()) == confirm


def _sealed(data: bytes) -> None:
    assert SrtpReceiver(bytes(16), bytes(14), SrtpTag.HS80).unprotect(data) is None
    KEYS.open(data)
    raise AssertionError("opened by chance")


def _small(data: bytes) -> None:
    for reader in (read_error, read_go_clear, Ping.read, PingAck.read):
        with contextlib.suppress(PeerError):
            reader(data)


def _sdp(data: bytes) -> None:
    read_hello_hash(data.decode("latin-1"))


def _exchange(data: bytes) -> None:
    """The message whose number the first byte says is another one; the second byte: from where on."""
    if len(data) < 2:
        return
    numbers = iter(range(1 << 20))

    def meddler(name: str, datagram: bytes) -> list[bytes]:
        if next(numbers) != data[0] % 16:
            return [datagram]
        message = message_of(datagram)
        at = 4 * data[1] % len(message)
        changed = message[:at] + data[2:] + message[at + len(data) - 2 :]
        return [rewrapped(datagram, changed), datagram]

    pair = World("fuzz").call(meddler=meddler, until=100.0)
    assert all(party.is_secured != (party.failed is not None) for party in pair.parties)
    if pair.alice.is_secured and pair.bob.is_secured:
        agree(pair)


def _secure(data: bytes) -> None:
    """After the keys nothing from outside does anything but make us answer."""
    pair = _secured_pair()
    before = [effect for party in pair.parties for effect in party.effects]
    with contextlib.suppress(PeerError):
        pair.inject(pair.alice, from_party(pair.bob, data))
    assert before == [effect for party in pair.parties for effect in party.effects]


def _secured_pair() -> Pair:
    pair = World("fuzz").call()
    parties: tuple[Party, Party] = pair.parties
    assert all(party.is_secured for party in parties)
    return pair


_READERS: tuple[Callable[[bytes], None], ...] = (
    _packet,
    _frame,
    _hello,
    _commit,
    _dh_part,
    _confirm,
    _sealed,
    _small,
    _sdp,
    _exchange,
    _secure,
)


def _seeds() -> list[bytes]:
    return [bytes((number,)) + bytes(32) for number in range(len(_READERS))]


CODECS = (Codec("zrtp", one_input, _seeds),)

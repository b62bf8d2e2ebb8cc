"""What a reflector reads before it knows with whom it speaks, and what is read of reflectors.

Signed things are also read under a right signature, and secrets under a right seal, as their dishonest makers can
write them.
"""

import datetime
from collections.abc import Callable, Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.core import MisuseError, PeerError, RefusedByPolicy, SeededEntropy
from relay.forward_publish import EntryKind
from relay.media_reflector import ReflectorKeys
from relay.media_reflector.cookie import CookieJar
from relay.media_reflector.descriptor import (
    _CONTEXT,
    ReflectorReference,
    SignedDescriptor,
    base32,
    sign_descriptor,
    verify_descriptor,
)
from relay.media_reflector.descriptor_entry import DescriptorEntry
from relay.media_reflector.first_message import COOKIE_AT, MAC_AT, MESSAGE_SIZE, FirstMessage, noise_part
from relay.media_reflector.handshake import AgentHandshake, answer_handshake, first_is_authentic
from relay.media_reflector.lists import (
    _CONTEXT as LIST_CONTEXT,
)
from relay.media_reflector.lists import (
    format_maker,
    parse_maker,
    read_list,
    sign_list,
)
from relay.media_reflector.resumption import TicketKeys
from relay.media_reflector.ticket_messages import (
    ANSWER_SIZE,
    REQUEST_SIZE,
    Answer,
    Request,
    RequestKind,
    descriptor_request,
    parse_answer,
    peer_request,
    ticket_lifetime,
    ticket_request,
    write_answer,
)
from relay.media_reflector.tickets import Ticket
from relay.media_reflector.trunk_handshake import TrunkInitiator, TrunkResponder
from relay.wire import decode, encode, pad, unpad
from tests.fuzz.codec import PEER, Codec, Shape, each, of_text, same

_WALL = 1_800_000_000.0
_ONION = "abcdefgh" * 7
_ENTROPY = SeededEntropy("fuzz")
_KEYS, _OTHER = ReflectorKeys.generate(_ENTROPY), ReflectorKeys.generate(_ENTROPY)
_PUBLIC = _KEYS.static_key.public_key().public_bytes_raw()
_REFERENCE = ReflectorReference(_ONION, _KEYS.public_identity)
_ADDRESSES = [("192.0.2.1", 7210), ("2001:db8::1", 7210)]
_TRUNKS = [(_OTHER.public_identity, 50)]
_SIGNED = _KEYS.signed_descriptor(_ONION, _ADDRESSES, _WALL, capacity=2000, trunks=_TRUNKS)
_DESCRIPTOR = verify_descriptor(_SIGNED, _REFERENCE, _WALL)


class _Gate:
    def permit(self, ticket_id: bytes) -> None:
        pass

    def forbid(self, ticket_id: bytes) -> None:
        pass

    def check_keys(self, own: object, left: object) -> None:
        pass


def _descriptor(data: bytes) -> None:
    """A descriptor that its reflector signed, whatever is in it."""
    signed = encode(SignedDescriptor(data, _KEYS.identity_key.sign(_CONTEXT + data)))
    found = verify_descriptor(signed, _REFERENCE, _WALL)
    same(sign_descriptor(found, _KEYS.identity_key), signed)
    if found.address_for(4, 6) is None:
        raise AssertionError("a reflector without a place")


def _signed_descriptor(data: bytes) -> None:
    verify_descriptor(data, _REFERENCE, _WALL)


def _descriptor_slot(data: bytes) -> None:
    slot = pad(data[: EntryKind.DESCRIPTOR.slot_size - 4], EntryKind.DESCRIPTOR.slot_size)
    entry = DescriptorEntry.parse(slot)
    same(entry.body, slot)
    each(entry.verify, lambda: entry.check_time(_WALL))
    if not 0 <= entry.revision < 2**53 or len(entry.key) != 32:
        raise AssertionError("an entry that no store can keep")


def _list(text: str) -> None:
    found = read_list(text)
    found.begun(_WALL)
    found.seconds_over(_WALL)


_MAKER = Ed25519PrivateKey.from_private_bytes(bytes(32))


def _signed_list(text: str) -> None:
    """The lines of a list, and a signature that fits them as a maker's own program would lay them out."""
    lines = [stripped for line in text.split("\n") if (stripped := line.strip())]
    try:
        signature = _MAKER.sign(LIST_CONTEXT + "".join(f"{line}\n" for line in lines).encode())
    except UnicodeEncodeError:
        raise PeerError("not UTF-8") from None
    _list(text + f"\nsignature: {base32(signature)}\n")


def _lists() -> Iterable[bytes]:
    references = [_REFERENCE, ReflectorReference("b" * 56, _OTHER.public_identity)]
    days = datetime.date(2027, 1, 15), datetime.date(2027, 7, 15)
    yield sign_list("Friends of the free press", references, *days, _MAKER).encode()


def _office(data: bytes) -> None:
    """A request that is padded as it must be; whatever is answered can be read."""
    request = pad(data[: REQUEST_SIZE - 4], REQUEST_SIZE)
    office = _KEYS.office(10, SeededEntropy("office"), _Gate())
    office.accept_peers([_OTHER.public_identity])
    answer = office.answer(request, lambda: _SIGNED, 0.0)
    same(len(answer), ANSWER_SIZE)
    parse_answer(answer)


def _requests() -> Iterable[bytes]:
    yield unpad(descriptor_request())
    yield unpad(ticket_request(_DESCRIPTOR, _ENTROPY)[0])
    for kind in (RequestKind.BACKUP_KEY, RequestKind.TRUNK_TICKET):
        yield unpad(peer_request(kind, bytes(32), _DESCRIPTOR, _OTHER.identity_key))
    yield encode(Request(RequestKind.TICKET, bytes(1168), b"", b""))


def _answer(data: bytes) -> None:
    answer = pad(data[: ANSWER_SIZE - 4], ANSWER_SIZE)
    read = parse_answer(answer)
    same(write_answer(read), answer)
    ticket_lifetime(read)


_TICKET = Ticket.fresh(_ENTROPY.token(32), 600.0)
_AGENT = AgentHandshake(_TICKET, _PUBLIC, 1, _ENTROPY)
_TRUNK = TrunkInitiator(_TICKET, _OTHER.static_key, _PUBLIC, 50, _ENTROPY)
_JAR = CookieJar(_ENTROPY)


def _opening(data: bytes) -> None:
    """First messages and answers of lines and trunks, raw and with a right mac: nothing opens by chance."""
    message = data[:MESSAGE_SIZE].ljust(MESSAGE_SIZE, b"\0")
    _refused(message)
    remade = FirstMessage(_TICKET, noise_part(message, _TICKET.secret), message[COOKIE_AT:MAC_AT]).message
    same(first_is_authentic(remade, _TICKET), True)
    _refused(remade)


def _refused(message: bytes) -> None:
    same(_AGENT.answered(message), None)
    same(_TRUNK.answered(message), None)
    same(_TRUNK.answered(_TRUNK.answer_id + message[16:]), None)
    _JAR.good(message, bytes(18), 0.0)
    tries: tuple[Callable[[], object], ...] = (
        lambda: answer_handshake(message, _TICKET, _KEYS.static_key, 1, 2, _ENTROPY),
        lambda: TrunkResponder(message, _TICKET, _KEYS.static_key, _PUBLIC),
    )
    for answer in tries:
        try:
            answer()
        except PeerError:
            continue
        if message[:COOKIE_AT] not in (_AGENT.first()[:COOKIE_AT], _TRUNK.first()[:COOKIE_AT]):
            raise AssertionError("opened by chance")


def _openings() -> Iterable[bytes]:
    yield _AGENT.first()
    yield _TRUNK.first()
    yield _JAR.answer(_TICKET, bytes(18), 0.0)


def _sealing_keys(data: bytes) -> None:
    """What the process before left; whatever it is, the office goes on."""
    keys = TicketKeys(SeededEntropy("kept"))
    if not keys.restore(data):
        raise PeerError("malformed")
    keys.renew(0.0)
    keys.mint(0.0)
    again = TicketKeys(SeededEntropy("kept"))
    same(again.restore(keys.save()), True)
    same(again.save(), keys.save())


def _kept_keys() -> Iterable[bytes]:
    keys = TicketKeys(SeededEntropy("kept"))
    keys.renew(0.0)
    keys.use(keys.mint(0.0).id)
    keys.leave(bytes(32), bytes(32), 0.0)
    yield keys.save()


def _key_file(data: bytes) -> None:
    keys = decode(data, ReflectorKeys, limit=4096)
    same(encode(keys), data)
    if not keys.valid:
        raise PeerError("malformed")
    keys.signed_descriptor(_ONION, _ADDRESSES, _WALL, capacity=1)


def _without_signature() -> Iterable[bytes]:
    return (text.rpartition(b"signature:")[0] for text in _lists())


_LIST_WORDS = (
    b"bayonne-reflector:",
    b"signature: ",
    b"maker: bayonne-list-maker:",
    b"issued: ",
    b"until: ",
    b"\r\n",
)

CODECS = (
    Codec("descriptor", _descriptor, lambda: [encode(_DESCRIPTOR)], shape=Shape.PACKED),
    Codec("descriptor-signed", _signed_descriptor, lambda: [_SIGNED], shape=Shape.PACKED),
    Codec("descriptor-slot", _descriptor_slot, lambda: [_SIGNED], shape=Shape.PACKED),
    Codec(
        "reflector-reference",
        of_text(lambda text: same(str(ReflectorReference.parse(text)), text.strip())),
        lambda: [str(_REFERENCE).encode()],
        refusals=(MisuseError,),
        longest=200,
    ),
    Codec(
        "list-maker",
        of_text(lambda text: same(format_maker(parse_maker(text)), text.strip())),
        lambda: [format_maker(_KEYS.public_identity).encode()],
        refusals=(MisuseError,),
        longest=100,
    ),
    Codec("reflector-list", of_text(_list), _lists, words=_LIST_WORDS),
    Codec("reflector-list-signed", of_text(_signed_list), _without_signature, words=_LIST_WORDS),
    Codec("ticket-office", _office, _requests, (PeerError, RefusedByPolicy), Shape.PACKED),
    Codec(
        "ticket-answer",
        _answer,
        lambda: [encode(Answer(True, b"", 600)), encode(Answer(False, b"", 60))],
        (PeerError, RefusedByPolicy),
        Shape.PACKED,
        longest=ANSWER_SIZE,
    ),
    Codec("line-opening", _opening, _openings, longest=MESSAGE_SIZE),
    Codec("sealing-keys", _sealing_keys, _kept_keys, PEER, Shape.PACKED),
    Codec("reflector-keys", _key_file, lambda: [encode(_KEYS)], PEER, Shape.PACKED),
)

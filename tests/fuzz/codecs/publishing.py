"""Everything that contact points and their clients read: slots, requests, answers, what is sealed in records, tokens.

Where something has one size, inputs are padded to it; where a whole 256 KiB is read, they are its beginning.
"""

import hashlib
from collections.abc import Callable, Iterable

import msgspec

from relay.core import Counters, PeerError, SeededEntropy
from relay.forward_publish import (
    ANSWER_SIZE,
    OFFICE_COUNTS,
    PUT_ANSWER_SIZE,
    REQUEST_SIZE,
    Bucket,
    ContactPointLimits,
    ContactRecord,
    Digests,
    EntryKind,
    EntryParsers,
    Fetch,
    HybridKey,
    HybridPublicKey,
    Introduction,
    Middle,
    Peers,
    Prekey,
    Put,
    PutAnswer,
    PutResult,
    ReachableAt,
    RecordOffice,
    Request,
    Summary,
    TokenKey,
    Want,
    binding_text,
    do_work,
    introduction,
    parse_digests,
    parse_peers,
    parse_request,
    parse_slots,
    parse_summary,
    token_bytes,
    token_text,
)
from relay.forward_publish.answers import (
    HEADING_SIZE,
    digests_answer,
    peers_answer,
    slots_answer,
    summary_answer,
)
from relay.forward_publish.plain_text import is_language, is_plain
from relay.wire import decode, encode, pad, unpad
from tests.forward_publish import shelves
from tests.fuzz.codec import Codec, Shape, canonical, each, of_text, same, without_waiting

NOW = shelves.NOW
ENTROPY = SeededEntropy("fuzz")
PARSERS = EntryParsers()
ONION = "abcdefgh" * 7


def padded(read: Callable[[bytes], object], size: int) -> Callable[[bytes], object]:
    """`read` of an input that is padded to the one size."""
    return lambda data: read(pad(data[: size - 4], size))


def _slot(kind: EntryKind) -> Callable[[bytes], object]:
    def read(slot: bytes) -> None:
        entry = PARSERS.parse(kind, slot)
        same(entry.body, slot)
        each(lambda: entry.check_time(NOW), entry.verify)
        PARSERS.verify(kind, slot, NOW)

    return padded(read, kind.slot_size)


def _answer(asked: Fetch | Middle | Want | Digests | Summary | Peers) -> Callable[[bytes], object]:
    """A heading of `data[0]` bytes, and behind it whatever is left."""

    def read(data: bytes) -> None:
        length = 1 + data[0] if data else 0
        heading, rest = pad(data[1 : 1 + length], HEADING_SIZE), data[1 + length :]
        answer = heading + rest[: ANSWER_SIZE - HEADING_SIZE].ljust(ANSWER_SIZE - HEADING_SIZE, b"\0")
        match asked:
            case Fetch() | Middle() | Want():
                parse_slots(answer, asked)
            case Digests():
                parse_digests(answer, asked)
            case Summary():
                parse_summary(answer, asked)
            case Peers():
                same(peers_answer(asked, parse_peers(answer, asked)), answer)

    return read


def _bucket(data: bytes) -> None:
    """One slot in a bucket, twice."""
    kind = EntryKind.LISTING if data[:1] < b"\x80" else EntryKind.RECORD
    asked = Fetch(kind)
    slot = pad(data[1 : kind.slot_size - 3], kind.slot_size)
    bucket = Bucket.parse(slots_answer(asked, [slot, slot], pages=1), asked)
    look = bucket.look([entry.key for entry in bucket.entries], NOW, ENTROPY)
    if look.confirmed or not bucket.refused or bucket.halves_good_until(NOW) is not None:
        raise AssertionError("the same entry twice makes no bucket")


def _office(data: bytes) -> None:
    """Whatever a contact point with one record answers, its client can read."""
    request = pad(data[: REQUEST_SIZE - 4], REQUEST_SIZE)
    asked = parse_request(request)
    store = shelves.MemoryStore([_HELD])
    office = RecordOffice(
        store, ContactPointLimits(work_bits=0), Counters(OFFICE_COUNTS), peers=lambda *_: [ONION]
    )
    answer = without_waiting(office.answer(request, NOW))
    same(len(answer), PUT_ANSWER_SIZE if isinstance(asked, Put) else ANSWER_SIZE)
    _read_back(answer, asked)


def _read_back(answer: bytes, asked: Request) -> None:
    match asked:
        case Put():
            PutAnswer.parse(answer)
        case Fetch() | Middle() | Want():
            parse_slots(answer, asked)
        case Digests():
            parse_digests(answer, asked)
        case Summary():
            parse_summary(answer, asked)
        case Peers():
            parse_peers(answer, asked)


def _record(data: bytes) -> None:
    """What was sealed in a record."""
    record = decode(data, ContactRecord, limit=4096)
    same(encode(record), data)
    if not record.is_sound():
        raise PeerError("malformed")
    for at in record.reachable_at:
        same(ReachableAt.named(at.onion_name, at.token_name), at)


def _introduction(data: bytes) -> None:
    """What was sealed in an introduction."""
    content = decode(data, introduction._Content, limit=4096)
    same(encode(content), data)
    Introduction(content.name, content.reachable_at, content.prekey).check()


def _plain_text(text: str) -> None:
    """What strangers call themselves, and the languages they name: nothing that could mislead who reads it."""
    if is_language(text) and not text.isascii():
        raise AssertionError("a language is written in ASCII")
    if not is_plain(text, 48):
        raise PeerError("malformed")
    same(len(text.encode()) <= 48 and "\n" not in text and "\u202e" not in text, True)


def _requests() -> Iterable[bytes]:
    record, listing = shelves.stored_record(), shelves.stored_listing()
    for request in (
        Put.of(record, do_work(record, 0)),
        Put.of(listing, do_work(listing, 0)),
        Fetch(EntryKind.RECORD),
        Fetch(EntryKind.LISTING, 3, 5, 1),
        Middle(),
        Middle(13, 4711),
        Digests(EntryKind.RECORD),
        Summary(EntryKind.LISTING, 2, 1),
        Want(EntryKind.RECORD, (bytes(16), bytes(range(16)))),
        Peers(),
        Peers(ONION),
    ):
        yield unpad(request.to_bytes())


def _answers(answer: bytes) -> Callable[[], Iterable[bytes]]:
    heading = unpad(answer[:HEADING_SIZE])
    rest = answer[HEADING_SIZE:].rstrip(b"\0")[:3000]
    return lambda: [bytes((len(heading) - 1,)) + heading + rest]


def _introductions() -> Iterable[bytes]:
    prekey = HybridKey.generate(ENTROPY).public
    yield encode(introduction._Content(bytes(32), int(NOW), bytes(32), "Alice", (shelves.HERE,), prekey))


def _bindings() -> Iterable[bytes]:
    key = TokenKey.generate(ENTROPY)
    yield binding_text.format_credentials(key.answer(bytes(32), ONION)).encode()


_HELD = shelves.stored_record()
_FETCH = Fetch(EntryKind.RECORD)
_MIDDLE = Middle(3, 5)
_WANT = Want(EntryKind.LISTING, (bytes(16),))
_DIGESTS = Digests(EntryKind.RECORD)
_SUMMARY = Summary(EntryKind.RECORD, 1, 1)
_PEERS = Peers()
_TOKEN = token_text(hashlib.sha256(b"token").digest())

CODECS = (
    Codec(
        "record-slot",
        _slot(EntryKind.RECORD),
        lambda: [unpad(shelves.stored_record().body)],
        shape=Shape.PACKED,
    ),
    Codec(
        "listing-slot",
        _slot(EntryKind.LISTING),
        lambda: [unpad(shelves.stored_listing().body)],
        shape=Shape.PACKED,
        longest=510,
    ),
    Codec(
        "record-request",
        padded(canonical(parse_request, lambda request: request.to_bytes()), REQUEST_SIZE),
        _requests,
        shape=Shape.PACKED,
    ),
    Codec("record-office", _office, _requests, shape=Shape.PACKED),
    Codec(
        "put-answer",
        padded(canonical(PutAnswer.parse, lambda answer: answer.to_bytes()), PUT_ANSWER_SIZE),
        lambda: [
            unpad(PutAnswer(PutResult.MORE_WORK, 14).to_bytes()),
            unpad(PutAnswer(PutResult.FULL).to_bytes()),
        ],
        shape=Shape.PACKED,
        longest=PUT_ANSWER_SIZE,
    ),
    Codec(
        "slots-answer",
        _answer(_FETCH),
        _answers(slots_answer(_FETCH, [bytes(2039) + b"\x01"], pages=2, wide=1)),
    ),
    Codec(
        "middle-answer",
        _answer(_MIDDLE),
        _answers(slots_answer(_MIDDLE, [bytes(2039) + b"\x01"], wide=3)),
    ),
    Codec("want-answer", _answer(_WANT), _answers(slots_answer(_WANT, [b"\x01" * 510]))),
    Codec(
        "digests-answer", _answer(_DIGESTS), _answers(digests_answer(_DIGESTS, [(b"\x01" * 16, 9)] * 4096))
    ),
    Codec(
        "summary-answer",
        _answer(_SUMMARY),
        _answers(summary_answer(_SUMMARY, [(b"\x80" * 16, 7, b"\x01" * 8)], pages=1)),
    ),
    Codec("peers-answer", _answer(_PEERS), _answers(peers_answer(_PEERS, [ONION]))),
    Codec("bucket", _bucket, lambda: [b"\x00" + unpad(shelves.stored_listing().body)]),
    Codec(
        "record-content",
        _record,
        lambda: [
            encode(shelves.record_of(missed=(1, 2), languages=("en", "pt-BR"))),
            encode(msgspec.structs.replace(shelves.record_of(), reachable_at=(shelves.HERE,) * 4)),
        ],
        shape=Shape.PACKED,
    ),
    Codec("introduction-content", _introduction, _introductions, shape=Shape.PACKED),
    Codec(
        "plain-text", of_text(_plain_text), lambda: [b"Harbour Press", b"pt-BR", "Zoë".encode()], longest=100
    ),
    Codec(
        "token",
        of_text(lambda text: same(token_text(token_bytes(text)), text)),
        lambda: [_TOKEN.encode()],
        longest=100,
    ),
    Codec(
        "reachable-at",
        of_text(lambda text: same(ReachableAt.named(text, _TOKEN).onion_name, text)),
        lambda: [ONION.encode()],
        longest=100,
    ),
    Codec(
        "token-challenge",
        of_text(lambda text: same(binding_text.format_challenge(binding_text.parse_challenge(text)), text)),
        lambda: [binding_text.format_challenge(bytes(32)).encode()],
        longest=300,
    ),
    Codec(
        "token-credentials",
        of_text(
            lambda text: same(binding_text.format_credentials(binding_text.parse_credentials(text, "")), text)
        ),
        _bindings,
        longest=600,
    ),
    Codec(
        "prekey-file",
        canonical(Prekey.from_bytes, lambda prekey: prekey.to_bytes()),
        lambda: [Prekey.generate(ENTROPY, NOW).to_bytes()],
        shape=Shape.PACKED,
        longest=300,
    ),
    Codec(
        "hybrid-key",
        lambda data: HybridPublicKey.parse(data).seal(b"", b""),
        lambda: [HybridKey.generate(ENTROPY).public],
        longest=1300,
    ),
)

"""What an agent reads of domains' hosts and of its own state directory, and what its user types."""

import contextlib
import ssl
from collections.abc import Callable, Iterable, Iterator

import msgspec

from relay.agent.contact_file import (
    Book,
    Contact,
    Introducing,
    KeptInvitation,
    Whereabouts,
    read_book,
    write_book,
)
from relay.agent.credentials import Softphone, own_softphone
from relay.agent.domain_pins import DomainPins, Pin, _Pins
from relay.agent.domains import REL_STANDING_ADDRESS, Account, read_descriptor
from relay.agent.flows import _remembered
from relay.agent.guards import Guard, _KeptGuards, kept_guards
from relay.agent.invitations import parse_expiry
from relay.agent.openpgp_exchange import read_message, write_message
from relay.agent.openpgp_status import Signature, read_check
from relay.agent.part_list import PartList
from relay.agent.permissions import format_hours, parse_hours
from relay.agent.regrouping import Group
from relay.agent.vault_moving import Import, _Export
from relay.agent.voice_security import End
from relay.agent.voice_trust import Doubt, VoiceTrust, read_fingerprint
from relay.agent.web_get import _TARGET, WebGet, _converse, is_onion, is_public_name
from relay.agent.zid_table import ZidTable
from relay.core import ConfigurationError, MisuseError, PeerError, RefusedByPolicy, SeededEntropy
from relay.identity import Identity, Invitation, InvitationKind
from relay.identity.vault import Cost, WrongPassphrase, create
from relay.wire import encode
from relay.zrtp import Retained, Strength
from tests.fuzz.codec import PEER, Codec, Shape, canonical, of_text, same, without_waiting
from tests.fuzz.streams import nowhere, reader_of

_ENTROPY = SeededEntropy("fuzz")
_PERSON = Identity.generate(_ENTROPY)
_ACCOUNT = Account("alice", "example.org")
_HOST, _ONION = "example.org", "abcdefgh" * 7
_STANDING = Invitation.generate(InvitationKind.STANDING, _PERSON.public_key, (_ONION,), 0, _ENTROPY).format()


def _web_finger(data: bytes) -> None:
    """Whatever a domain says, what is taken of it is an address."""
    found = read_descriptor(data, _ACCOUNT)
    same(len(found.address), 56)
    if found.invitation is not None:
        same(found.invitation.inviter_public_key, found.public_key)


def _descriptors() -> Iterable[bytes]:
    for href in (_PERSON.sip_uri("alice"), _STANDING):
        links = [{"rel": "self", "href": "x"}, {"rel": REL_STANDING_ADDRESS, "href": href}]
        yield msgspec.json.encode({"subject": _ACCOUNT.uri, "links": links})


def _account(text: str) -> None:
    account = Account.parse(text)
    same(Account.parse(account.uri), account)
    if not account.text.isascii() or account.text != account.text.lower():
        raise AssertionError("an account in two spellings")


def _web_answer(data: bytes) -> None:
    """A host's answer, as it comes and in small pieces."""
    replies = []
    for piece in (1 << 20, 5):
        talk = _converse(reader_of(data, piece=piece), nowhere(), _HOST, "/x", "application/json")
        replies.append(without_waiting(talk))
    same(*replies)


class _NoDialer:
    """Nothing is asked."""


_WEB = WebGet(_NoDialer(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))  # type: ignore[arg-type]


def _redirect(text: str) -> None:
    """Where a host sends us: to hosts with public names by HTTPS, or about in the same onion service."""
    for start in (_HOST, f"{_ONION}.onion"):
        try:
            host, target = _WEB._follow(start, start, "/a?b", text)
        except PeerError:
            if is_onion(start):
                raise
            continue
        if not (host == start if is_onion(start) else is_public_name(host)) or not _TARGET.fullmatch(target):
            raise AssertionError("sent where nobody should go")


class _State:
    """A `Kept` that holds the same under every name."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, name: str) -> bytes:
        return self._content

    def write(self, name: str, content: bytes) -> None:
        pass

    def remove(self, name: str) -> None:
        pass

    def stamp(self, name: str) -> int:
        return 1

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        yield


def _state(read: Callable[[_State], object]) -> Callable[[bytes], object]:
    return lambda data: read(_State(data))


def _book(data: bytes) -> None:
    book = read_book(data)
    same(read_book(write_book(book)), book)


def _books() -> Iterable[bytes]:
    whereabouts = Whereabouts((), bytes(1216), 1, 1, 1, 1)
    introducing = Introducing(bytes(32), 0, "Alice", bytes(32))
    trust = VoiceTrust(pgp="A" * 40).compared(End.AGENT, End.PHONE, 1.0).doubted(Doubt.TAMPERED, 1.0)
    contact = Contact(
        *("1", "Bob", bytes(32), bytes(32), (_ONION,), bytes(32), 1, whereabouts, introducing),
        hours=(1, 2),
        trust=trust,
    )
    kept = KeptInvitation("2", InvitationKind.ONCE, bytes(16), bytes(32), "Carol", 1, 2)
    yield write_book(Book(contacts=[contact], invitations=[kept]))
    yield b'{"contacts": []}'


def _exported(data: bytes) -> None:
    """Its header, too, and a passphrase that is right for one of the seeds; no guess may cost more than it may."""
    Import(data).unlock(bytearray(b"passphrase"))


def _exports() -> Iterable[bytes]:
    header, vault = create(b"passphrase", _ENTROPY, Cost(memory=8, passes=1, lanes=1))
    yield encode(_Export(1, header, vault.seal("roll", b"[]", _ENTROPY), ()))
    yield encode(_Export(1, b"", b"", (b"", b"x")))


def _typed(text: str) -> None:
    """Hours and times as people type them."""
    if text[:1] == "e":
        parse_expiry(text[1:])
    else:
        hours = parse_hours(text)
        same(parse_hours(format_hours(hours)), hours)


def _fingerprint(text: str) -> None:
    digits = read_fingerprint(text)
    same(read_fingerprint(digits), digits)
    if len(digits) not in (40, 64) or not digits.isascii():
        raise AssertionError("a fingerprint that is none")


def _zids() -> Iterable[bytes]:
    table, retained = ZidTable(), Retained(bytes(32), Strength(256, 128, 128), bytes(32), verified=True)
    yield table.to_bytes(0.0)
    table.meet("ab", b"our own zid.", "agent", b"hers, of 12.")
    table.put(b"our own zid.", b"hers, of 12.", retained, 2_000_000_000)
    yield table.to_bytes(0.0)


_KEY = "A" * 40


def _status(data: bytes) -> None:
    """What GnuPG says of a signature is good by the key that was asked for, or not at all."""
    if read_check(data, _KEY) is Signature.GOOD and _KEY.encode() not in data:
        raise AssertionError("good, and by nobody")


_OURS = (ConfigurationError,)
_PINS = (Pin("alice", _HOST, _PERSON.address, _STANDING, 1),)


def _part_lists() -> list[bytes]:
    empty = PartList.new(SeededEntropy("parts"))
    listed = empty.written("contacts.json", empty.mark("contacts.json"))
    return [empty.to_bytes(), listed.to_bytes(), listed.removed("contacts.json").to_bytes()]


CODECS = (
    Codec(
        "zids-file",
        canonical(ZidTable.from_bytes, lambda table: table.to_bytes(0.0)),
        _zids,
        shape=Shape.PACKED,
    ),
    Codec(
        "openpgp-message",
        canonical(read_message, write_message),
        lambda: [write_message(b"signature"), write_message(None)],
        shape=Shape.PACKED,
    ),
    Codec(
        "openpgp-status",
        _status,
        lambda: [
            b"[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG AAAAAAAAAAAAAAAA x\n[GNUPG:] VALIDSIG "
            + _KEY.encode()
            + b" 2026-01-01 1 0 4 0 22 8 00 "
            + _KEY.encode(),
            b"[GNUPG:] ERRSIG AAAAAAAAAAAAAAAA 22 8 00 1 9 " + _KEY.encode(),
        ],
        (),
        words=(b"[GNUPG:] ", b"GOODSIG", b"VALIDSIG", b"BADSIG", b"NODATA", b"EXPKEYSIG", _KEY.encode()),
    ),
    Codec("fingerprint", of_text(_fingerprint), lambda: [_KEY.encode(), b"0x" + b"ab" * 32], (MisuseError,)),
    Codec(
        "web-finger",
        _web_finger,
        _descriptors,
        (PeerError, RefusedByPolicy),
        Shape.JSON,
        words=(REL_STANDING_ADDRESS.encode(), b"bayonne:", b".bayonne.alt", b"acct:"),
    ),
    Codec(
        "account",
        of_text(_account),
        lambda: [b"acct:alice@example.org", "Älice@Bücher.example.".encode(), "a@bücher.example".encode()],
        (MisuseError,),
        words=(b"sip:", b"acct:", b"xn--", b".onion", "。".encode()),
        longest=400,
    ),
    Codec(
        "web-answer",
        _web_answer,
        lambda: [
            b"HTTP/1.1 200 OK\r\nContent-Type: a/b; c=d\r\nContent-Length: 2\r\n\r\n{}",
            b"HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            b"HTTP/1.0 302 Found\r\nLocation: https://www.example.org/\r\n\r\n",
        ],
        words=(b"Content-Length: ", b"Transfer-Encoding: chunked", b"Content-Encoding: gzip", b"HTTP/1.1 "),
    ),
    Codec(
        "web-redirect",
        of_text(_redirect),
        lambda: [b"/elsewhere?x=y", f"http://{_ONION}.onion/x".encode()],
        words=(b"https://", b"http://", b":443", b"//", b"..", b"@", b"[::1]"),
        longest=500,
    ),
    Codec("contact-file", _book, _books, _OURS, Shape.JSON),
    Codec(
        "softphone-file",
        _state(lambda state: own_softphone(state, "alice", _ENTROPY)),
        lambda: [msgspec.json.encode(Softphone("alice", "secret"))],
        _OURS,
        Shape.JSON,
    ),
    Codec(
        "guards-file",
        _state(kept_guards),
        lambda: [msgspec.json.encode(_KeptGuards((Guard(bytes(32), 1, 2, 1),)))],
        _OURS,
        Shape.JSON,
    ),
    Codec(
        "flows-file",
        _state(_remembered),
        lambda: [msgspec.json.encode({_ONION: [Group(1, ["b" * 52])]})],
        _OURS,
        Shape.JSON,
    ),
    Codec(
        "pins-file",
        _state(lambda state: DomainPins(state).all()),
        lambda: [msgspec.json.encode(_Pins(_PINS))],
        _OURS,
        Shape.JSON,
    ),
    Codec("vault-export", _exported, _exports, (ConfigurationError, WrongPassphrase), Shape.PACKED),
    Codec("vault-roll", PartList.from_bytes, _part_lists, PEER, Shape.PACKED),
    Codec("typed", of_text(_typed), lambda: [b"08:00-22:00", b"e7d", b"always"], (MisuseError,), longest=50),
)

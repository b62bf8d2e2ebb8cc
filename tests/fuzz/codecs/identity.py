"""Addresses, invitations as people paste them, and identity keys.

What has a checksum is also read with a right one, as whoever makes it up can write it.
"""

import base64
from collections.abc import Iterable

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.identity import (
    Identity,
    Invitation,
    InvitationKind,
    blind_public_key,
    format_address,
    parse_address,
)
from relay.identity.identity import curve25519_public
from relay.identity.invitation import SCHEME, VERSION, _checksum
from relay.identity.passphrase import prepared
from relay.identity.vault import (
    COST,
    LARGEST_HEADER,
    Cost,
    Vault,
    _associated,
    _check,
    _Header,
    check_header,
    create,
)
from relay.wire import decode, encode, pad
from tests.fuzz.codec import Codec, Shape, each, of_text, same, steady

_ME = Identity.generate(SeededEntropy("fuzz"))


def _address(text: str) -> None:
    key = parse_address(text)
    same(format_address(key), text.lower().removesuffix(".bayonne.alt"))


def _key(data: bytes) -> None:
    """A contact's identity key, in all that is computed with it."""
    each(
        lambda: _ME.diffie_hellman(data),
        lambda: blind_public_key(data[:32].ljust(32, b"\0"), bytes(32), 0),
    )
    same(len(curve25519_public(data).public_bytes_raw()), 32)


def _content(data: bytes) -> None:
    """What is inside an invitation, under a right checksum."""
    text = SCHEME + base64.b32encode(data + _checksum(data)).decode().rstrip("=").lower()
    invitation = Invitation.parse(text)
    same(invitation.format(), text)


def _invitations() -> Iterable[Invitation]:
    entropy = SeededEntropy("fuzz")
    onions = tuple(base64.b32encode(entropy.token(35)).decode().lower() for _ in range(4))
    yield Invitation.generate(InvitationKind.ONCE, _ME.public_key, onions[:1], 0, entropy)
    yield Invitation.generate(InvitationKind.STANDING, _ME.public_key, onions, 500_000, entropy)


def _texts() -> Iterable[bytes]:
    for invitation in _invitations():
        text = invitation.format()
        yield text.encode()
        yield b"BAYONNE://" + text[8:].upper().encode()
        yield f"<{text[:60]}\r\n> {text[60:]}>".encode()


def _contents() -> Iterable[bytes]:
    for invitation in _invitations():
        body = invitation.format()[len(SCHEME) :].upper()
        yield base64.b32decode(body + "=" * (-len(body) % 8))[:-4]
    yield bytes((0x96, VERSION))


_VAULT = Vault(bytearray(32))
_CHEAP = Cost(memory=8, passes=1, lanes=1)


def _header(data: bytes) -> None:
    """The header of a vault; also under a right check, which whoever writes one can compute."""
    each(lambda: check_header(data), lambda: check_header(_checked(data)))


def _checked(data: bytes) -> bytes:
    header = decode(data, _Header, limit=LARGEST_HEADER)
    return encode(msgspec.structs.replace(header, check=_check(header)))


def _part(data: bytes) -> None:
    """A sealed part; also one whose content, padding and all, is `data`, sealed by the key."""
    _VAULT.open("x", _sealed(data))
    try:
        _VAULT.open("x", data)
    except PeerError:
        return
    raise AssertionError("a part that nobody sealed")


def _sealed(padded: bytes) -> bytes:
    with _VAULT._expanded(b"part", "x") as key:
        return bytes(12) + ChaCha20Poly1305(key).encrypt(bytes(12), padded, _associated("x"))


def _passphrase(text: str) -> None:
    made = prepared(text)
    same(prepared(made.decode()), made)


CODECS = (
    Codec(
        "address", of_text(_address), lambda: [_ME.address.encode(), f"{_ME.address}.bayonne.alt".encode()]
    ),
    Codec(
        "invitation",
        steady(of_text(Invitation.parse), lambda invitation: invitation.format().encode()),
        _texts,
        words=(b"bayonne:", b"bayonne://", b"\xe2\x80\x8b", b"\xc2\xad"),
    ),
    Codec("invitation-content", _content, _contents, shape=Shape.PACKED, longest=600),
    Codec("identity-key", _key, lambda: [_ME.public_key, bytes(32), b"\x01" + bytes(31)], longest=64),
    Codec(
        "vault-header",
        _header,
        lambda: [create(b"passphrase", SeededEntropy("fuzz"), cost)[0] for cost in (_CHEAP, COST)],
        shape=Shape.PACKED,
        longest=300,
    ),
    Codec("vault-part", _part, lambda: [pad(b"content", 64), bytes(32), b"\xff" * 64]),
    Codec(
        "passphrase",
        of_text(_passphrase),
        lambda: [b"correct horse battery staple", "cafe\u0301 l·l ٣".encode(), b"\xe1\x84\x92\xe1\x85\xa1"],
        (MisuseError,),
        words=(b"\xe2\x80\x8d", b"\xc2\xa0", b"\xe3\x80\x80"),
        longest=200,
    ),
)

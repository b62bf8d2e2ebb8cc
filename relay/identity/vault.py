"""Secrets at rest under a passphrase: a header that the passphrase opens, and parts, each sealed on its own.

    passphrase --Argon2id (RFC 9106), salt and cost in the header--> wrapping key
    wrapping key --ChaCha20-Poly1305 (RFC 8439), the header as associated data--> data key, random
    data key --HKDF-SHA256 (RFC 5869), once for each part's name--> its key, and what its file is called

A part is a random nonce, and its content, padded to a power of two, under its key with its name as associated data; so
sizes and names of files tell little, and no part can stand in for another, or for one of another vault.  A change of
passphrase wraps the data key anew and touches no part.

Not told from the present here: an older version of a part that somebody put back (see `relay.agent.part_list`).
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from relay.core import Entropy, MisuseError, PeerError, RefusedByPolicy, keep_from_swap, passing, wipe
from relay.wire import decode, encode, pad

VERSION = 1
KEY_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16
LARGEST_PART = 1 << 28
"""Bytes of a sealed part, at most."""
LARGEST_HEADER = 256

_SALT_SIZE = 16
_CHECK_SIZE = 16
_SMALLEST_CONTENT = 4096
_LENGTH = 4
_MOST_MEMORY = 1 << 20
_MOST_WORK = 1 << 23


class WrongPassphrase(RefusedByPolicy):
    """It took as long as the right one, and every further guess does."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What every guess of a passphrase costs (RFC 9106 section 3.1): `memory` in KiB, passes over it, lanes."""

    memory: int
    passes: int
    lanes: int


COST = Cost(memory=1 << 18, passes=4, lanes=4)
"""256 MiB four times: about a second on two slow cores."""


class _Header(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    version: int
    salt: bytes
    memory: int
    passes: int
    lanes: int
    nonce: bytes
    wrapped: bytes
    check: bytes


class Vault:
    """An open vault.  Seals and opens parts until it is wiped, in several threads at a time."""

    def __init__(self, key: bytearray) -> None:
        """For `create`, `unlock`, and whoever was given `key` by somebody who unlocked; it is wiped with the vault.

        Raises `MisuseError`.
        """
        if len(key) != KEY_SIZE:
            raise MisuseError("that is no key of a vault")
        keep_from_swap(key)
        self._key = key
        self._wiped = False
        self._in_use = threading.Lock()

    @property
    def key(self) -> bytearray:
        """The data key itself.  Raises `MisuseError` once it is wiped."""
        if self._wiped:
            raise MisuseError("the vault is locked")
        return self._key

    def wipe(self) -> None:
        """Forget the key.  May be called twice, and while parts are sealed."""
        # Else one could be sealed under what a wiped key leaves, zeros, which everybody has.
        with self._in_use:
            self._wiped = True
            wipe(self._key)

    def file_name(self, name: str) -> str:
        """What the file of a part is called: says nothing without the key."""
        with self._expanded(b"file", name) as key:
            return key[:16].hex()

    def seal(self, name: str, content: bytes, entropy: Entropy) -> bytes:
        """The part `name`, ready to be stored.  Raises `MisuseError` where it is too large."""
        size = max(_SMALLEST_CONTENT, 1 << (len(content) + _LENGTH - 1).bit_length())
        if size + NONCE_SIZE + TAG_SIZE > LARGEST_PART:
            raise MisuseError("that is more than a vault takes as one part")
        nonce = entropy.token(NONCE_SIZE)
        with self._expanded(b"part", name) as key:
            return nonce + ChaCha20Poly1305(key).encrypt(nonce, pad(content, size), _associated(name))

    def open(self, name: str, sealed: bytes) -> bytes:
        """Undo `seal`.  Raises `PeerError` where that is not part `name` of this vault, whole."""
        if not NONCE_SIZE + TAG_SIZE + _LENGTH <= len(sealed) <= LARGEST_PART:
            raise PeerError("damaged part")
        nonce, sealed = sealed[:NONCE_SIZE], sealed[NONCE_SIZE:]
        try:
            with self._expanded(b"part", name) as key:
                padded = ChaCha20Poly1305(key).decrypt(nonce, sealed, _associated(name))
        except InvalidTag:
            raise PeerError("damaged part") from None
        end = _LENGTH + int.from_bytes(padded[:_LENGTH])
        # Whoever has the key wrote it; the filling needs no look, which would take long in a large part.
        if end > len(padded):
            raise PeerError("damaged part")
        return padded[_LENGTH:end]

    @contextmanager
    def _expanded(self, use: bytes, name: str) -> Iterator[bytearray]:
        info = b"bayonne vault " + use + b"\0" + name.encode()
        with passing(KEY_SIZE) as key:
            with self._in_use:
                HKDFExpand(SHA256(), KEY_SIZE, info).derive_into(self.key, key)
            yield key


def create(passphrase: bytes | bytearray, entropy: Entropy, cost: Cost = COST) -> tuple[bytes, Vault]:
    """A new vault, open, and its header."""
    vault = Vault(bytearray(entropy.token(KEY_SIZE)))
    return header_for(vault, passphrase, entropy, cost), vault


def header_for(vault: Vault, passphrase: bytes | bytearray, entropy: Entropy, cost: Cost = COST) -> bytes:
    """A header by which `passphrase` opens `vault`; the one before it is to be destroyed."""
    salt, nonce = entropy.token(_SALT_SIZE), entropy.token(NONCE_SIZE)
    header = _Header(VERSION, salt, cost.memory, cost.passes, cost.lanes, nonce, b"", b"")
    with _wrapping_key(passphrase, salt, cost) as key:
        wrapped = ChaCha20Poly1305(key).encrypt(nonce, vault.key, _bound(header))
    header = msgspec.structs.replace(header, wrapped=wrapped)
    return encode(msgspec.structs.replace(header, check=_check(header)))


def unlock(header: bytes, passphrase: bytes | bytearray) -> Vault:
    """Open a vault.  Raises `PeerError` where the header is damaged, which is told at once, and `WrongPassphrase`."""
    read = _read(header)
    found = bytearray(KEY_SIZE)
    with _wrapping_key(passphrase, read.salt, _cost(read)) as key:
        try:
            ChaCha20Poly1305(key).decrypt_into(read.nonce, read.wrapped, _bound(read), found)
        except InvalidTag:
            raise WrongPassphrase("that is not the passphrase of this vault") from None
    return Vault(found)


def is_size_of_part(size: int) -> bool:
    """Whether a sealed part may have so many bytes."""
    padded = size - NONCE_SIZE - TAG_SIZE
    return _SMALLEST_CONTENT <= padded < LARGEST_PART and padded.bit_count() == 1


def check_header(header: bytes) -> None:
    """Whether a header is whole, and asks for no more than is reasonable.  Raises `PeerError`."""
    _read(header)


def _read(data: bytes) -> _Header:
    header = decode(data, _Header, limit=LARGEST_HEADER)
    if header.version != VERSION:
        raise PeerError("a vault of another version")
    sizes = len(header.salt), len(header.nonce), len(header.wrapped)
    cost = _cost(header)
    # Bounds: a header from who knows where must take neither all memory nor an hour.
    reasonable = (
        1 <= cost.lanes <= 16
        and cost.passes >= 1
        and 8 * cost.lanes <= cost.memory <= _MOST_MEMORY
        and cost.passes * cost.memory <= _MOST_WORK
    )
    if sizes != (_SALT_SIZE, NONCE_SIZE, KEY_SIZE + TAG_SIZE) or not reasonable:
        raise PeerError("damaged header")
    if header.check != _check(header):
        raise PeerError("damaged header")
    return header


@contextmanager
def _wrapping_key(passphrase: bytes | bytearray, salt: bytes, cost: Cost) -> Iterator[bytearray]:
    argon2 = Argon2id(
        salt=salt, length=KEY_SIZE, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory
    )
    with passing(KEY_SIZE) as key:
        # It takes any buffer, whatever its type says; a copy as `bytes` could not be wiped.
        argon2.derive_into(passphrase, key)  # type: ignore[arg-type]
        yield key


def _cost(header: _Header) -> Cost:
    return Cost(header.memory, header.passes, header.lanes)


def _bound(header: _Header) -> bytes:
    """What the wrapping is tied to: everything that is known before."""
    return encode(msgspec.structs.replace(header, wrapped=b"", check=b""))


def _check(header: _Header) -> bytes:
    """Tells damage from a wrong passphrase; secret it is not."""
    return hashlib.sha256(encode(msgspec.structs.replace(header, check=b""))).digest()[:_CHECK_SIZE]


def _associated(name: str) -> bytes:
    return b"bayonne vault part %d\0" % VERSION + name.encode()

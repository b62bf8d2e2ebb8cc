"""Another ZRTP, which none of us wrote: Debian's bzrtp (package libbzrtp0), the one in Linphone, through ctypes.

Only what came unchanged through its versions is touched: names of algorithms are turned into its numbers by itself,
and of its structure of secrets nothing behind the SAS is read.
"""

import ctypes
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent.parent
_UNPACKED = _PROJECT / ".deps" / "root" / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
_NEEDED_FIRST = (
    "icudata",
    "icuuc",
    "xml2",
    "mbedcrypto",
    "mbedx509",
    "mbedtls",
    "decaf",
    "bctoolbox",
    "sqlite3",
)
"""What it is linked with, in order, where it was unpacked beneath .deps and the loader would not find it."""

HASH, CIPHER, AUTH_TAG, KEY_AGREEMENT, SAS = 0x01, 0x02, 0x04, 0x08, 0x10
_SECURE = 0x1004


class _Secrets(ctypes.Structure):
    _fields_ = (
        ("self_key", ctypes.POINTER(ctypes.c_uint8)),
        ("self_key_length", ctypes.c_uint8),
        ("self_salt", ctypes.POINTER(ctypes.c_uint8)),
        ("self_salt_length", ctypes.c_uint8),
        ("peer_key", ctypes.POINTER(ctypes.c_uint8)),
        ("peer_key_length", ctypes.c_uint8),
        ("peer_salt", ctypes.POINTER(ctypes.c_uint8)),
        ("peer_salt_length", ctypes.c_uint8),
        ("cipher", ctypes.c_uint8),
        ("cipher_key_length", ctypes.c_uint8),
        ("auth_tag", ctypes.c_uint8),
        ("sas", ctypes.c_char_p),
    )


_STATUS = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint8, ctypes.c_uint8, ctypes.c_char_p)
_SEND = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint8), ctypes.c_uint16)
_AVAILABLE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Secrets), ctypes.c_uint8)
_START = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Secrets), ctypes.c_int32)
_EXPORT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint8)


class _Callbacks(ctypes.Structure):
    _fields_ = (
        ("status", _STATUS),
        ("level", ctypes.c_int),
        ("send", _SEND),
        ("available", _AVAILABLE),
        ("start", _START),
        ("export", _EXPORT),
    )


def load() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    """bzrtp and its SQLite.  Fails, and never skips, where `make setup` has not brought them."""
    if (_UNPACKED / "libbzrtp.so.0").exists():
        for name in _NEEDED_FIRST:
            for path in sorted(_UNPACKED.glob(f"lib{name}.so.*"))[:1]:
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        library = ctypes.CDLL(str(_UNPACKED / "libbzrtp.so.0"))
    else:
        try:
            library = ctypes.CDLL("libbzrtp.so.0")
        except OSError as error:
            raise AssertionError(
                "no libbzrtp.so.0: install the Debian package libbzrtp0 (make setup)"
            ) from error
    library.bzrtp_createBzrtpContext.restype = ctypes.c_void_p
    library.bzrtp_cryptoAlgoTypeStringToInt.restype = ctypes.c_uint8
    return library, ctypes.CDLL("libsqlite3.so.0")


@dataclass(frozen=True)
class Outcome:
    """What bzrtp says of a complete exchange; `sas` is empty in Multistream mode."""

    send: tuple[bytes, bytes]
    receive: tuple[bytes, bytes]
    sas: str
    verified: bool


class Database:
    """Its ZID cache, in memory, which outlives calls."""

    def __init__(self) -> None:
        _, sqlite = load()
        self.handle = ctypes.c_void_p()
        assert sqlite.sqlite3_open(b":memory:", ctypes.byref(self.handle)) == 0


class Bzrtp:
    """One call of the other implementation, with one stream or more."""

    def __init__(
        self, ssrc: int, offers: Mapping[int, Sequence[str]] | None = None, database: Database | None = None
    ) -> None:
        """`offers`: names of algorithms by kind, where they are not its own choice."""
        self._library, _ = load()
        self.outgoing: dict[int, list[bytes]] = {}
        self.outcomes: dict[int, Outcome] = {}
        self._partial: dict[int, _Secrets] = {}
        self._context = ctypes.c_void_p(self._library.bzrtp_createBzrtpContext())
        if database is not None:
            self._do("setZIDCache", database.handle, b"sip:self@invalid", b"sip:peer@invalid")
        for kind, names in (offers or {}).items():
            numbers = [self._library.bzrtp_cryptoAlgoTypeStringToInt(name.encode(), kind) for name in names]
            assert all(numbers), f"bzrtp does not know all of {names}"
            self._library.bzrtp_setSupportedCryptoTypes(
                self._context, kind, (ctypes.c_uint8 * 7)(*numbers), len(numbers)
            )
        # They live as long as this: C calls them.
        self._callbacks = _Callbacks(
            _STATUS(lambda *_: 0),
            0,
            _SEND(self._on_send),
            _AVAILABLE(lambda *_: 0),
            _START(self._on_start),
            _EXPORT(lambda *_: 0),
        )
        self._do("setCallbacks", ctypes.byref(self._callbacks))
        self._do("initBzrtpContext", ctypes.c_uint32(ssrc))
        self._know(ssrc)

    def _do(self, name: str, *arguments: object, fine: Sequence[int] = (0, 0x2000)) -> None:
        result = getattr(self._library, f"bzrtp_{name}")(self._context, *arguments)
        assert result in fine, f"bzrtp_{name}: {result:#x}"

    def _know(self, ssrc: int) -> None:
        self.outgoing[ssrc] = []
        self._do("setClientData", ctypes.c_uint32(ssrc), ctypes.c_void_p(ssrc))

    def add_stream(self, ssrc: int) -> None:
        """A further one, in Multistream mode."""
        self._do("addChannel", ctypes.c_uint32(ssrc))
        self._know(ssrc)

    def begin(self, ssrc: int, now: float) -> None:
        self._do("startChannelEngine", ctypes.c_uint32(ssrc))
        self.tick(ssrc, now)

    def tick(self, ssrc: int, now: float) -> None:
        self._library.bzrtp_iterate(self._context, ctypes.c_uint32(ssrc), ctypes.c_uint64(round(now * 1000)))

    def receive(self, ssrc: int, datagram: bytes) -> int:
        """Its return value, zero where it took the message."""
        data = (ctypes.c_uint8 * len(datagram))(*datagram)
        return int(
            self._library.bzrtp_processMessage(
                self._context, ctypes.c_uint32(ssrc), data, ctypes.c_uint16(len(datagram))
            )
        )

    def secure(self, ssrc: int) -> bool:
        """Whether it says so itself."""
        return bool(self._library.bzrtp_getChannelStatus(self._context, ctypes.c_uint32(ssrc)) == _SECURE)

    def hello_hash(self, ssrc: int) -> str:
        """The value of its a=zrtp-hash."""
        text = ctypes.create_string_buffer(80)
        self._do("getSelfHelloHash", ctypes.c_uint32(ssrc), text, ctypes.c_size_t(80))
        return text.value.decode()

    def expect_hello_hash(self, ssrc: int, value: str) -> None:
        text = ctypes.create_string_buffer(value.encode())
        self._do("setPeerHelloHash", ctypes.c_uint32(ssrc), text, ctypes.c_size_t(len(value)))

    def verify_sas(self) -> None:
        """Its user compared the SAS."""
        self._library.bzrtp_SASVerified(self._context)

    def close(self) -> None:
        for ssrc in self.outgoing:
            self._library.bzrtp_destroyBzrtpContext(self._context, ctypes.c_uint32(ssrc))

    def _on_send(self, client: int, data: "ctypes._Pointer[ctypes.c_uint8]", length: int) -> int:
        self.outgoing[client].append(bytes(data[:length]))
        return 0

    def _on_start(self, client: int, pointer: "ctypes._Pointer[_Secrets]", verified: int) -> int:
        secrets = pointer.contents
        self.outcomes[client] = Outcome(
            (
                bytes(secrets.self_key[: secrets.self_key_length]),
                bytes(secrets.self_salt[: secrets.self_salt_length]),
            ),
            (
                bytes(secrets.peer_key[: secrets.peer_key_length]),
                bytes(secrets.peer_salt[: secrets.peer_salt_length]),
            ),
            (secrets.sas or b"").decode(),
            bool(verified),
        )
        return 0

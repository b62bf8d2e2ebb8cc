"""One document of the web, fetched through Tor alone: HTTPS at an ordinary host, plain HTTP at an onion service.

A GET (RFC 9110) over HTTP/1.1 and TLS 1.2 or better; redirects are few, and lead to hosts with names only.  The exit
looks the name up and learns which host is asked, never by whom nor what for.  Without Tor it fails.
"""

import asyncio
import hashlib
import re
import ssl
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urljoin, urlsplit

import h11

from relay.core import ConfigurationError, MisuseError, PeerError, TransportUnavailable
from relay.wire import OnionDialer

MOST_REDIRECTS = 2
BODY_LIMIT = 65536
GET_SECONDS = 60.0
"""For everything together, redirects too."""

HTTPS = 443
HTTP = 80

UNTRUSTED = "certificate of nobody we trust"
"""The reason of a `PeerError`."""

_HEAD_LIMIT = 16384
_CHUNK = 8192
_MOST_INFORMATIONAL = 4
_LONGEST_TARGET = 2048
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")
_ONION = re.compile(r"([a-z2-7]{56})\.onion")
_TARGET = re.compile(r"/[!-~]*")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

NEVER_PUBLIC = frozenset(
    {"alt", "arpa", "exit", "internal", "invalid", "local", "localdomain", "localhost", "noconnect", "onion"}
)
"""Last labels that no public host's name has (RFC 6761, 6762, 7686, 8375, 9476, and Tor's own)."""


class WebDialer(OnionDialer, Protocol):
    """Opens streams to onion services and, through an exit, to ordinary hosts by their names."""

    async def open_host(
        self, host: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A stream to `port` of `host`, whose name is looked up at the exit.  Raises `TransportUnavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """What a host said at last: `content_type` in small letters and without parameters."""

    status: int
    content_type: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    location: str
    content_type: str
    body: bytes = field(repr=False)


def is_onion(host: str) -> bool:
    """Whether `host` is an onion service's name, which proves whose it is by itself."""
    return _ONION.fullmatch(host) is not None


def is_public_name(host: str) -> bool:
    """Whether `host` can be a name of the public DNS: two labels or more, no address, no name of some other kind."""
    return (
        len(host) <= 253 and _HOST.fullmatch(host) is not None and host.rpartition(".")[2] not in NEVER_PUBLIC
    )


def web_trust(ca_file: str = "") -> ssl.SSLContext:
    """Whom to trust to name hosts: the system's authorities, and those in `ca_file` (PEM) where one is given.

    Raises `ConfigurationError`.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ValueError):
            raise ConfigurationError(
                "domains.ca_file: holds no certificates in PEM; check the path"
            ) from None
    return context


class WebGet:
    """Fetches documents through `dialer`; `port` is where hosts speak HTTPS."""

    def __init__(
        self, dialer: WebDialer, trust: ssl.SSLContext, *, port: int = HTTPS, seconds: float = GET_SECONDS
    ) -> None:
        self._dialer = dialer
        self._trust = trust
        self._port = port
        self._seconds = seconds

    async def get(self, host: str, target: str, *, accept: str, isolation: str) -> WebAnswer:
        """The document at `target` ("/path?query") of `host`, or where that host sends us.

        Streams of different `isolation` or to different hosts never share a circuit.  Raises
        `TransportUnavailable`, and `PeerError` for an answer that breaks a rule or a bound.
        """
        if not (is_onion(host) or is_public_name(host)) or not _TARGET.fullmatch(target):
            raise MisuseError("a document has a host with a name, and a path")
        start = host
        try:
            async with asyncio.timeout(self._seconds):
                for _ in range(1 + MOST_REDIRECTS):
                    reply = await self._once(host, target, accept, isolation)
                    if reply.status not in _REDIRECTS:
                        return WebAnswer(reply.status, reply.content_type, reply.body)
                    host, target = self._follow(start, host, target, reply.location)
                raise PeerError("too many redirects", "RFC 9110 section 15.4")
        except TimeoutError:
            raise TransportUnavailable("the domain's host did not answer in time; try again") from None

    def _follow(self, start: str, host: str, target: str, location: str) -> tuple[str, str]:
        """Where a redirect leads.  An onion service may send us about in itself, and no further."""
        if not location:
            raise PeerError("bad redirect", "RFC 9110 section 15.4")
        onion = is_onion(start)
        scheme, port = ("http", HTTP) if onion else ("https", self._port)
        try:
            url = urlsplit(urljoin(f"{scheme}://{host}:{port}{target}", location))
            wanted, at = (url.hostname or "").removesuffix("."), url.port
        except ValueError:
            raise PeerError("bad redirect", "RFC 9110 section 15.4") from None
        if at is None:
            at = HTTP if url.scheme == "http" else HTTPS
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        good_host = wanted == start if onion else is_public_name(wanted)
        # RFC 7033 section 4.2: a redirect leads to an "https" URI, or nowhere.
        if url.scheme != scheme or not good_host or at != port or "@" in url.netloc:
            raise PeerError("bad redirect", "RFC 7033 section 4.2")
        if len(path) > _LONGEST_TARGET or not _TARGET.fullmatch(path):
            raise PeerError("bad redirect", "RFC 9110 section 15.4")
        return wanted, path

    async def _once(self, host: str, target: str, accept: str, isolation: str) -> _Reply:
        label = "web " + hashlib.sha256(f"{isolation} {host}".encode()).hexdigest()[:32]
        onion = _ONION.fullmatch(host)
        if onion:
            reader, writer = await self._dialer.open(onion[1], HTTP, isolation=label)
        else:
            reader, writer = await self._dialer.open_host(host, self._port, isolation=label)
        try:
            if not onion:
                await writer.start_tls(self._trust, server_hostname=host)
            shown = host if onion or self._port == HTTPS else f"{host}:{self._port}"
            return await _converse(reader, writer, shown, target, accept)
        except ssl.SSLCertVerificationError:
            raise PeerError(UNTRUSTED, "RFC 9110 section 4.3.4") from None
        except ssl.SSLError:
            raise PeerError("bad TLS", "RFC 8446") from None
        except (OSError, EOFError):
            raise TransportUnavailable("the domain's host broke the connection off; try again") from None
        finally:
            writer.transport.abort()


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, target: str, accept: str
) -> _Reply:
    """One request and its answer.  No header says more of us than that we ask."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)
    request = h11.Request(
        method="GET",
        target=target,
        headers=[
            ("Host", host),
            ("Accept", accept),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ],
    )
    writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    head: h11.Response | None = None
    body, informational = bytearray(), 0
    while True:
        try:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(_CHUNK))
                continue
        except h11.RemoteProtocolError:
            raise PeerError("bad HTTP", "RFC 9112") from None
        match event:
            case h11.InformationalResponse():
                informational += 1
                if informational > _MOST_INFORMATIONAL:
                    raise PeerError("bad HTTP", "RFC 9110 section 15.2")
            case h11.Response():
                head = event
                if event.status_code in _REDIRECTS:
                    return _Reply(event.status_code, _header(event, b"location"), "", b"")
            case h11.Data():
                body += event.data
                if len(body) > BODY_LIMIT:
                    raise PeerError("oversized")
            case h11.EndOfMessage() if head is not None:
                if _header(head, b"content-encoding") not in ("", "identity"):
                    raise PeerError("bad content coding", "RFC 9110 section 8.4")
                content_type = _header(head, b"content-type").partition(";")[0].strip().lower()
                return _Reply(head.status_code, "", content_type, bytes(body))
            case _:
                raise PeerError("truncated", "RFC 9112 section 8")


def _header(response: h11.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in response.headers if key == name), "")

"""Hosts of a small web, over unix sockets, with certificates of a throw-away authority; and a dialer that reaches them
alone."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relay.core import SystemClock, TransportUnavailable

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates; `file` holds its own, for whoever trusts it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "authority.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "throw-away authority")])
        now = datetime.datetime.fromtimestamp(SystemClock().wall(), datetime.UTC)
        certificate = (
            self._builder(self._name, self._key, now - DAY, now + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))

    def issue(self, host: str, *, expired: bool = False) -> ssl.SSLContext:
        """What a server of `host` needs."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.fromtimestamp(SystemClock().wall(), datetime.UTC)
        until = now - DAY / 2 if expired else now + DAY
        certificate = (
            self._builder(x509.Name([]), key, now - DAY, until)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        file = self.directory / f"{host}.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        since: datetime.datetime,
        until: datetime.datetime,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
        )


@dataclass(slots=True)
class Hosts:
    """A dialer whose world is what was put up here; `asked` are (host, port, isolation), `requests` their heads."""

    authority: Authority
    directory: Path
    asked: list[tuple[str, int, str]] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _paths: dict[str, Path] = field(default_factory=dict)

    async def put_up(self, host: str, *answers: bytes, tls: ssl.SSLContext | None = None) -> None:
        """A host that gives the next of `answers` to each request; an onion's without TLS."""
        left = list(answers)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError):
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(left.pop(0))
            writer.close()

        onion = host.endswith(".onion")
        await self.put_up_server(host, serve, None if onion else tls or self.authority.issue(host))

    async def put_up_server(self, host: str, serve: Serve, tls: ssl.SSLContext | None) -> None:
        path = self.directory / f"{len(self._paths)}.socket"

        async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                await serve(reader, writer)

        server = await asyncio.start_unix_server(quietly, str(path), ssl=tls)
        self._stack.callback(server.close)
        self._paths[host] = path

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self.open_host(f"{onion}.onion", port, isolation=isolation)

    async def open_host(
        self, host: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.asked.append((host, port, isolation))
        if host not in self._paths:
            raise TransportUnavailable("there is no such host")
        return await asyncio.open_unix_connection(str(self._paths[host]))

    async def close(self) -> None:
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def small_web(directory: Path) -> AsyncIterator[Hosts]:
    hosts = Hosts(Authority(directory), directory)
    try:
        yield hosts
    finally:
        await hosts.close()


def ok(body: bytes, content_type: str = "application/jrd+json") -> bytes:
    """A whole answer."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def moved(location: str, status: int = 302) -> bytes:
    """A redirect."""
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()

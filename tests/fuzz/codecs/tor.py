"""What Tor's SOCKS port answers, what an island's file says, and what programs of one machine leave for others."""

import asyncio
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from relay.agent.settings import AgentSettings
from relay.core import ConfigurationError, PeerError, TransportUnavailable
from relay.core.configuration import load_configuration
from relay.lab.captures import CaptureWriter, Datagram, read_capture
from relay.node.contact_point_settings import ContactPointSettings
from relay.node.drain_request import _parse as read_drain_answer
from relay.node.reflector_settings import ReflectorSettings
from relay.tor.island import IslandFile
from relay.tor.network_file import NetworkFile
from relay.tor.socks import _REPLIES, _negotiate, _request
from relay.tor.supervision import ProcessIdentity, claimant
from tests.fuzz.codec import Codec, Shape, same, without_waiting
from tests.fuzz.streams import file_of, nowhere, reader_of


def _socks(data: bytes) -> None:
    reader, writer = reader_of(data), nowhere()
    without_waiting(_negotiate(reader, writer, b"label"))
    without_waiting(_request(reader, writer, b"a.onion", 80, _REPLIES))


def _socks_answers() -> Iterable[bytes]:
    welcome = b"\x05\x02\x01\x00"
    yield welcome + b"\x05\x00\x00\x01" + bytes(6)
    yield welcome + b"\x05\x00\x00\x03\x04name\0\0"
    yield welcome + b"\x05\xf0\x00\x04" + bytes(18)


def _island(data: bytes) -> None:
    """What goes into a torrc is one line of what it is called."""
    island = IslandFile.parse(data)
    same(IslandFile.parse(msgspec.json.encode(island)), island)
    line = island.authority_line
    if not line.isascii() or not line.isprintable() or len(line.split(" ")) != 7:
        raise AssertionError("more than a line of a torrc")


def _islands() -> Iterable[bytes]:
    prints = {"v3ident": "A" * 40, "fingerprint": "B" * 40}
    island = IslandFile.of(
        nickname="a0", address="192.0.2.1", or_port=1, directory_port=2, relays=3, **prints
    )
    yield msgspec.json.encode(island)


def _networks() -> Iterable[bytes]:
    yield msgspec.json.encode(
        NetworkFile("DirAuthority x", "", "192.0.2.1", 80, 3, None, {"m": ProcessIdentity(1, "2")}, 0.0, True)
    )


def _claim(data: bytes) -> None:
    claimant(file_of(data))
    msgspec.json.decode(data, type=ProcessIdentity)


_CONFIGURATIONS = Path(__file__).parents[3] / "ops" / "config"
Settings = AgentSettings | ContactPointSettings | ReflectorSettings


def _settings(schema: type[Settings]) -> Callable[[bytes], object]:
    """A role's configuration, whatever its owner wrote; what is wrong is said in one sentence."""

    def read(data: bytes) -> None:
        load_configuration(file_of(data), schema, environment={}).check()

    return read


def _samples(role: str) -> Callable[[], Iterable[bytes]]:
    """The commented configuration that ships, as it is and with its examples switched on."""
    text = (_CONFIGURATIONS / f"{role}.toml").read_text()
    plain = "".join(f"{line}\n" for line in text.splitlines() if line and not line.startswith("#"))
    return lambda: [plain.encode(), re.sub(r"(?m)^#(?=[\w\[])", "", text).encode()]


def _agents() -> Iterable[bytes]:
    """A sample names nobody: contact point and reflector are the owner's own."""
    names = f'contact_points = ["{"a" * 56}"]\nreflectors = ["bayonne-reflector:{"a" * 56}/{"a" * 52}"]\n'
    for text in _samples("agent")():
        kept = [
            line
            for line in text.decode().splitlines()
            if not line.startswith(("contact_points", "reflectors"))
        ]
        yield (names + "\n".join(kept)).encode()


class _Sink:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def _captures() -> Iterable[bytes]:
    sink = _Sink()
    writer = CaptureWriter(sink)  # type: ignore[arg-type]
    writer.write(Datagram(1, ("192.0.2.1", 1), ("192.0.2.2", 2), b"cell"))
    yield sink.data


_OURS = (ConfigurationError,)

CODECS = (
    Codec("socks", _socks, _socks_answers, (TransportUnavailable, asyncio.IncompleteReadError), longest=300),
    Codec("island-file", _island, _islands, shape=Shape.JSON),
    Codec("network-file", lambda data: NetworkFile.read(file_of(data)), _networks, _OURS, Shape.JSON),
    Codec(
        "claim-file",
        _claim,
        lambda: [msgspec.json.encode(ProcessIdentity.of(1))],
        (msgspec.DecodeError, UnicodeDecodeError),
        Shape.JSON,
        longest=300,
    ),
    Codec(
        "drain-answer",
        read_drain_answer,
        lambda: [b'{"event": "draining", "calls": 0, "finished": false}\n'],
        (PeerError, TransportUnavailable, ValueError),
        Shape.JSON,
        longest=8192,
    ),
    Codec("agent-settings", _settings(AgentSettings), _agents, _OURS),
    Codec("contact-point-settings", _settings(ContactPointSettings), _samples("contact-point"), _OURS),
    Codec("reflector-settings", _settings(ReflectorSettings), _samples("reflector"), _OURS),
    Codec("capture", lambda data: read_capture(file_of(data)), _captures),
)

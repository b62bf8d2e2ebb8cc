"""rtpengine, in user space, as a relay of the same payloads: SRTP in, SRTP out under another key.

Both legs of every call offer AEAD_AES_128_GCM with the agent's own key, so that what it does to a packet is what we do:
open it, seal it anew.  It forwards at once.
"""

import base64
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.peers import bencode
from bench.peers.process import free_port, running, wait_readable
from relay.core import TransportUnavailable
from relay.lab.load.lines import FIRST_SOURCE, LOOPBACK, blank
from relay.lab.load.measure import Load
from relay.rtp import derive_session_keys

PROGRAM = "rtpengine"
PACKAGE = "rtpengine-daemon"
SUITE = "AEAD_AES_128_GCM"
_MASTER_SIZE = 28
_TRIES = 40
_PATIENCE = 0.25


def arguments(control_port: int, directory: Path) -> list[str]:
    """No kernel module, one relaying thread, nothing logged."""
    return [
        PROGRAM,
        *("--config-file=none", "--table=-1", "--foreground", "--log-stderr", "--log-level=1"),
        *("--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{control_port}", "--num-threads=1"),
        *("--port-min=10000", "--port-max=30000", f"--pidfile={directory / 'rtpengine.pid'}"),
    ]


def description(line: int, port: int, key: bytes) -> str:
    """What the agent of `line` says about itself (RFC 8866, RFC 4568)."""
    host = socket.inet_ntoa((FIRST_SOURCE + line).to_bytes(4))
    said = [
        "v=0",
        f"o=- {line} 1 IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} RTP/SAVP 111",
        "a=rtpmap:111 opus/48000/2",
        f"a=crypto:1 {SUITE} inline:{base64.b64encode(key).decode()}",
        "a=sendrecv",
        "a=rtcp-mux",
    ]
    return "\r\n".join(said) + "\r\n"


def port_and_key(said: str) -> tuple[int, bytes]:
    """Where rtpengine takes a leg's packets, and the master key and salt under which it sends to that leg."""
    media = re.search(r"^m=audio (\d+) ", said, re.MULTILINE)
    crypto = re.search(rf"^a=crypto:\d+ {SUITE} inline:([A-Za-z0-9+/=]+)", said, re.MULTILINE)
    if media is None or crypto is None:
        raise TransportUnavailable(f"rtpengine offers no {SUITE}")
    encoded = crypto.group(1)
    key = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    if len(key) != _MASTER_SIZE:
        raise TransportUnavailable("rtpengine's key has an unexpected size")
    return int(media.group(1)), key


@contextmanager
def relaying(
    load: Load, seed: int, cores: frozenset[int], directory: Path
) -> Iterator[tuple[int, NDArray[np.void]]]:
    """An rtpengine with a call for every pair of lines: its process, and the lines as the load sends them."""
    port = free_port()
    with running(arguments(port, directory), cores) as pid:
        lines = blank(load.count, seed, destination=(LOOPBACK, 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            control.connect(("127.0.0.1", port))
            for line in range(0, load.count, 2):
                _call(control, lines, line, load.ports[0])
        lines["sealed"] = 1
        lines["opened"] = np.arange(load.count) // 2 % 16 == 0
        yield pid, lines


def _call(control: socket.socket, lines: NDArray[np.void], line: int, port: int) -> None:
    """One call between two lines, and the four keys that come of it.

    When both ends offer the same suite rtpengine hands each the other's key and then passes packets through unopened.
    So each end answers once more with a key that the other was not told: from then on every packet is opened and sealed
    anew.
    """
    keys = [secrets.token_bytes(_MASTER_SIZE) for _ in range(4)]
    told_one, told_other, one, other = keys
    tags = {"one": line, "other": line ^ 1}

    def say(command: str, to: str, key: bytes) -> str:
        speaker = "one" if to == "other" else "other"
        asked, answering = (speaker, to) if command == "offer" else (to, speaker)
        request: dict[str, bencode.Value] = {
            "command": command,
            "call-id": f"bench-{line}",
            "from-tag": asked,
            "sdp": description(tags[speaker], port, key),
            "ICE": "remove",
            "DTLS": "off",
            "transport-protocol": "RTP/SAVP",
            "flags": ["trust-address"],
        }
        return _ask(control, request if command == "offer" else {**request, "to-tag": answering})

    say("offer", "other", told_other)
    say("answer", "one", told_one)
    for to, said, sends, gets in (
        ("one", say("answer", "one", other), one, told_one),
        ("other", say("answer", "other", one), other, told_other),
    ):
        leg_port, key = port_and_key(said)
        if key != gets:
            raise TransportUnavailable("rtpengine passes SRTP through without encrypting it anew")
        lines[tags[to]]["port"] = leg_port
        for name, master in (("up", sends), ("down", gets)):
            session = derive_session_keys(master[:16], master[16:])
            lines[tags[to]][f"{name}_key"] = np.frombuffer(session.key, "u1")
            lines[tags[to]][f"{name}_salt"] = np.frombuffer(session.salt, "u1")


def _ask(control: socket.socket, request: dict[str, bencode.Value]) -> str:
    """One request of the ng protocol: a cookie, a space, a bencoded dictionary; the SDP that comes back."""
    cookie = secrets.token_hex(8).encode()
    for _ in range(_TRIES):
        try:
            control.send(cookie + b" " + bencode.encode(request))
            if not wait_readable(control, _PATIENCE):
                continue
            seen, _, body = control.recv(65_536).partition(b" ")
        except ConnectionRefusedError:
            # It is starting still.
            wait_readable(control, _PATIENCE)
            continue
        if seen != cookie:
            continue
        answer = bencode.decode(body)
        if not isinstance(answer, dict) or answer.get("result") != b"ok":
            raise TransportUnavailable("rtpengine refused a call")
        said = answer["sdp"]
        assert isinstance(said, bytes)
        return said.decode()
    raise TransportUnavailable("rtpengine does not answer")

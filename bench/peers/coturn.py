"""coturn as a relay of the same payloads: a TURN client in ChannelData on one side, a plain peer on the other.

It encrypts nothing and forwards at once; each packet through it is one received and one sent, as with us.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.peers import turn
from bench.peers.process import free_port, running, wait_readable
from relay.core import TransportUnavailable
from relay.lab.load.lines import FIRST_SOURCE, LOOPBACK, blank
from relay.lab.load.measure import Load
from relay.rtp.cell import CELL_SIZE

PROGRAM = "turnserver"
PACKAGE = "coturn"
_AT_ONCE = 50
_TRIES = 40
_PATIENCE = 0.25
_IP_PKTINFO = 8


def arguments(port: int, directory: Path) -> list[str]:
    """One relaying thread, nobody asked who he is, nothing but UDP, nothing kept, nothing logged."""
    return [
        PROGRAM,
        *(
            "--no-auth",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--no-tcp",
            "--no-tcp-relay",
            "--no-stun-backward-compatibility",
        ),
        *(
            "--no-rfc5780",
            "--no-stdout-log",
            "--log-file",
            "/dev/null",
            "--allow-loopback-peers",
            "--relay-threads=1",
        ),
        *("--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={port}"),
        *("--min-port=10000", "--max-port=30000"),
        *(f"--pidfile={directory / 'coturn.pid'}", f"--userdb={directory / 'turndb'}", "-c", "/dev/null"),
    ]


@contextmanager
def relaying(
    load: Load, seed: int, cores: frozenset[int], directory: Path
) -> Iterator[tuple[int, NDArray[np.void]]]:
    """A coturn with an allocation for every even line of `load`: its process, and the lines as the load sends them."""
    port = free_port()
    with running(arguments(port, directory), cores) as pid:
        lines = blank(load.count, seed, destination=(LOOPBACK, port))
        sock, own = load.sockets[0], load.ports[0]
        clients = range(0, load.count, 2)
        relayed = {
            answer.transaction: answer.relayed
            for answer in _ask(sock, clients, turn.allocate, port)
            if answer.relayed
        }
        for _ in _ask(sock, clients, lambda line: turn.channel_bind(line, _host(line ^ 1), own), port):
            pass
        for line in clients:
            _, relayed_port = relayed[line] or ("", 0)
            lines[line]["prefixed"] = 1
            lines[line]["prefix"] = np.frombuffer(turn.channel_header(CELL_SIZE), "u1")
            lines[line ^ 1]["port"] = relayed_port
        yield pid, lines


def _ask(
    sock: socket.socket, lines: range, request: Callable[[int], bytes], port: int
) -> Iterator[turn.Response]:
    """Every line's request, sent until it was answered.  Raises `TransportUnavailable` when the server refuses."""
    waiting = dict.fromkeys(lines)
    for _ in range(_TRIES + len(waiting) // _AT_ONCE):
        asked = list(waiting)[:_AT_ONCE]
        for line in asked:
            # So that the server sees every client at an address of its own.
            source = struct.pack("=iII", 0, socket.htonl(FIRST_SOURCE + line), 0)
            sock.sendmsg([request(line)], [(socket.IPPROTO_IP, _IP_PKTINFO, source)], 0, ("127.0.0.1", port))
        while any(line in waiting for line in asked) and wait_readable(sock, _PATIENCE):
            answer = turn.parse(sock.recv(2048))
            if answer.error:
                raise TransportUnavailable(f"coturn refused a client with error {answer.error}")
            if answer.transaction in waiting:
                del waiting[answer.transaction]
                yield answer
        if not waiting:
            return
    raise TransportUnavailable(f"coturn did not answer {len(waiting)} of its clients")


def _host(line: int) -> str:
    return socket.inet_ntoa((FIRST_SOURCE + line).to_bytes(4))

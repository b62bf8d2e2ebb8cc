"""The demo's own observer: a tap that stands at a reflector's advertised address.  No root needed.

Every datagram between an agent and the reflector passes through it and is written to a pcap file under the
true addresses of the line (agent, advertised reflector address) and with the kernel's receive time
(SO_TIMESTAMPNS), so the tap's own scheduling never shows in the times.  The reflector sees one upstream
socket for each agent socket.

Run as a process of its own (`python -m relay.lab.observer`): one epoll loop, no other work, so that it adds
as little delay as possible (a fraction of a millisecond on loopback).
"""

import argparse
import json
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relay.core import Clock, SystemClock
from relay.lab.captures import Address, CaptureWriter, Datagram

_SO_TIMESTAMPNS = 35
"""Linux's SO_TIMESTAMPNS, which the socket module does not name."""

_TIMESPEC = struct.Struct("@ll")
_ANCILLARY_SPACE = socket.CMSG_SPACE(_TIMESPEC.size)
_LARGEST = 65535
_MOST_CLIENTS = 1024
_FLUSH_EVERY = 0.5


@dataclass(slots=True)
class _Client:
    address: Address
    upstream: socket.socket


class Tap:
    """Forwards datagrams between agents and one reflector, and writes down each one."""

    def __init__(self, listen: Address, reflector: Address, writer: CaptureWriter, clock: Clock) -> None:
        self._clock = clock
        self._writer = writer
        self._reflector = reflector
        self._front = _timestamping_socket()
        self._front.bind(listen)
        self.address: Address = self._front.getsockname()
        self._poll = select.epoll()
        self._poll.register(self._front.fileno(), select.EPOLLIN)
        self._by_address: dict[Address, _Client] = {}
        self._by_descriptor: dict[int, _Client] = {}

    def run(self, stopping: Callable[[], bool]) -> None:
        """Forward until `stopping()`; looks at it at least twice a second."""
        flushed = self._clock.monotonic()
        while not stopping():
            try:
                ready = self._poll.poll(_FLUSH_EVERY)
            except InterruptedError:
                continue
            for descriptor, _ in ready:
                if descriptor == self._front.fileno():
                    self._upwards()
                else:
                    self._downwards(self._by_descriptor[descriptor])
            now = self._clock.monotonic()
            if now - flushed >= _FLUSH_EVERY:
                self._writer.flush()
                flushed = now

    def close(self) -> None:
        self._writer.flush()
        self._poll.close()
        self._front.close()
        for client in self._by_address.values():
            client.upstream.close()

    def _upwards(self) -> None:
        while (received := self._receive(self._front)) is not None:
            payload, at_ns, source = received
            client = self._client(source)
            if client is None:
                continue
            _send(client.upstream, payload, self._reflector)
            self._writer.write(Datagram(at_ns, source, self.address, payload))

    def _downwards(self, client: _Client) -> None:
        while (received := self._receive(client.upstream)) is not None:
            payload, at_ns, source = received
            if source != self._reflector:
                continue
            _send(self._front, payload, client.address)
            self._writer.write(Datagram(at_ns, self.address, client.address, payload))

    def _client(self, address: Address) -> _Client | None:
        client = self._by_address.get(address)
        if client is None and len(self._by_address) < _MOST_CLIENTS:
            upstream = _timestamping_socket()
            upstream.bind((self._reflector[0], 0))
            client = _Client(address, upstream)
            self._by_address[address] = client
            self._by_descriptor[upstream.fileno()] = client
            self._poll.register(upstream.fileno(), select.EPOLLIN)
        return client

    def _receive(self, source: socket.socket) -> tuple[bytes, int, Address] | None:
        try:
            payload, ancillary, _, address = source.recvmsg(_LARGEST, _ANCILLARY_SPACE)
        except BlockingIOError:
            return None
        except OSError:  # an ICMP error of an earlier send, reported here: the reflector is away
            return None
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) == _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack(data)
                return payload, seconds * 1_000_000_000 + nanoseconds, (address[0], address[1])
        return payload, int(self._clock.wall() * 1e9), (address[0], address[1])


def _timestamping_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    made.setblocking(False)
    return made


def _send(through: socket.socket, payload: bytes, destination: Address) -> None:
    try:
        through.sendto(payload, destination)
    except OSError:  # a full or unreachable path loses datagrams; so does the tap
        return


def wall_minus_monotonic(clock: Clock) -> float:
    """Seconds to add to CLOCK_MONOTONIC times to get Unix times; the closest of several readings."""
    readings: list[tuple[float, float]] = []
    for _ in range(9):
        before = clock.monotonic()
        wall = clock.wall()
        after = clock.monotonic()
        readings.append((after - before, wall - (before + after) / 2))
    return min(readings)[1]


def observer_command(listen: str, reflector: str, capture: Path) -> list[str]:
    """The command line of a tap as a process of its own; addresses as "host:port"."""
    options = ["--listen", listen, "--reflector", reflector, "--capture", str(capture)]
    return [sys.executable, "-m", "relay.lab.observer", *options]


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main(arguments: list[str] | None = None) -> None:
    """Tap one reflector until SIGTERM; prints one JSON line when it stands."""
    parser = argparse.ArgumentParser(prog="observer", description=__doc__)
    parser.add_argument("--listen", type=_address, required=True, help="the address that agents are told")
    parser.add_argument(
        "--reflector", type=_address, required=True, help="where the reflector really listens"
    )
    parser.add_argument("--capture", type=Path, required=True, help="the pcap file to write")
    options = parser.parse_args(arguments)
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    clock = SystemClock()
    with options.capture.open("wb") as file:
        tap = Tap(options.listen, options.reflector, CaptureWriter(file), clock)
        print(json.dumps({"event": "ready", "address": f"{tap.address[0]}:{tap.address[1]}"}), flush=True)
        try:
            tap.run(lambda: bool(stop))
        finally:
            tap.close()


if __name__ == "__main__":
    main(sys.argv[1:])

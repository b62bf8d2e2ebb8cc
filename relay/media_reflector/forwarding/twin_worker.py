"""The thread that gives the plain data plane its sockets and its clock."""

import math
import os
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Protocol

from relay.core import Clock, MisuseError
from relay.media_reflector.forwarding.face import SLOT_SECONDS, SLOTS, Datagram
from relay.media_reflector.forwarding.twin_batches import DatagramSocket

_IPV4_MAPPED = b"\0" * 10 + b"\xff\xff"

_SWITCH_INTERVAL = 0.00005
"""Seconds after which another Python thread that computes lets this one go on.  It gives way several times in a slot of
a millisecond, whenever it calls the kernel; the usual 5 ms each time would cost whole slots."""


class Served(Protocol):
    """What the thread drives."""

    def receive(self, datagrams: Sequence[Datagram], now: float) -> None: ...

    def slot(self, number: int, now: float) -> list[Datagram]: ...

    def skip(self, first: int, count: int) -> None: ...

    def count(self, name: str, amount: int) -> None: ...


class Worker:
    """Lets the cells of a slot leave at its edge, reads, and seals the cells of the next slot before its edge comes.

    What arrives so never moves an edge: what cannot be read in time waits in the kernel.
    """

    def __init__(self, served: Served, clock: Clock, sockets: Sequence[socket.socket]) -> None:
        if not sockets:
            raise MisuseError("a data plane without a socket")
        self._served = served
        self._clock = clock
        self._sockets = [DatagramSocket(wrapped) for wrapped in sockets]
        # One socket of each family sends; a lone one sends everything that it can.
        self._ipv4 = next((one for one in self._sockets if one.is_ipv4), None)
        self._ipv6 = next((one for one in self._sockets if not one.is_ipv4), None)
        self._sealing = self._reading = 0.0
        """Seconds that it took last time to seal a slot, and to read a batch."""
        self._stopped = threading.Event()
        self._event = -1
        self._switch_interval = 0.0
        self._thread = threading.Thread(target=self._run, name="forwarding", daemon=True)

    def start(self) -> int:
        """Begin; the descriptor is that of `Forwarding.start`."""
        self._switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(min(self._switch_interval, _SWITCH_INTERVAL))
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread.start()
        return self._event

    def stop(self) -> None:
        """End and wait for the end; closes the descriptor."""
        self._stopped.set()
        self._thread.join()
        os.close(self._event)
        sys.setswitchinterval(self._switch_interval)

    def wake(self) -> None:
        """Make the descriptor readable."""
        os.eventfd_write(self._event, 1)

    def _run(self) -> None:
        number = self._current() + 1
        self._seal(number)
        while not self._stopped.wait(number * SLOT_SECONDS - self._clock.monotonic()):
            self._flush()
            number += 1
            late = self._current() - number
            if late >= SLOTS:
                # A standstill.  Lines would get their cells of several ticks in one burst.
                self._served.skip(number, late - SLOTS + 1)
                number += late - SLOTS + 1
            self._drain(number * SLOT_SECONDS)
            self._seal(number)

    def _current(self) -> int:
        return math.floor(self._clock.monotonic() / SLOT_SECONDS)

    def _seal(self, number: int) -> None:
        before = self._clock.monotonic()
        leaving = self._served.slot(number, before)
        if self._ipv4 is None or self._ipv6 is None:
            self._sockets[0].fill(leaving)
        else:
            ipv4: list[Datagram] = []
            ipv6: list[Datagram] = []
            for datagram in leaving:
                (ipv4 if datagram[1].startswith(_IPV4_MAPPED) else ipv6).append(datagram)
            self._ipv4.fill(ipv4)
            self._ipv6.fill(ipv6)
        self._sealing = self._clock.monotonic() - before

    def _flush(self) -> None:
        failed = sum(one.flush() for one in self._sockets)
        if failed:
            self._served.count("send_failed", failed)

    def _drain(self, edge: float) -> None:
        """Read for as long as the cells of the next slot can still be sealed before its edge, but one batch from every
        socket at least, so that lines that come late are heard all the same."""
        waiting = self._sockets
        while waiting:
            waiting = [one for one in waiting if self._read(one)]
            if self._clock.monotonic() + self._reading * len(waiting) + self._sealing >= edge:
                return

    def _read(self, one: DatagramSocket) -> bool:
        """Take one batch; whether more may wait."""
        before = self._clock.monotonic()
        try:
            datagrams = one.receive()
        except OSError:
            # An ICMP error that some earlier cell came back as; it says nothing that we would act on.
            self._served.count("receive_failed", 1)
            return False
        if datagrams:
            self._served.receive(datagrams, before)
        if len(datagrams) < one.most:
            return False
        self._reading = self._clock.monotonic() - before
        return True

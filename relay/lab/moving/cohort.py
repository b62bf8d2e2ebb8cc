"""All agents' lines at one reflector, on one UDP port that two readers share.

While a line opens and until it is crossed its cells are made and read by the `LineClient` that ships.  Then its keys
are handed to a data plane (the reflector's own kind, the other way round), which seals and sends a cell for it in
every tick: what thousands of agents' machines would do, on one.  Both share a port by SO_REUSEPORT; a filter says
which of them is given what arrives.
"""

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import Callable, Sequence

from relay.core import Clock
from relay.media_reflector import LineClient
from relay.media_reflector.forwarding import load_forwarding
from relay.media_reflector.forwarding.face import SLOTS, Datagram, pack_address
from relay.media_reflector.forwarding.twin_batches import DatagramSocket

_SO_ATTACH_REUSEPORT_CBPF = 51
_RETURN = 0x06
"""BPF_RET | BPF_K: the index of the socket, in the order of binding."""
_BUFFER = 32 << 20
_SO_RCVBUFFORCE = 33
_BATCHES = 16
_PATIENT_CELLS = 5
_IMPATIENT_TICKS = 10
"""A handshake that five cells brought no answer to is repeated in every tenth tick only.  Agents repeat it in every
tick; here it would take the time of a whole core to speak to a reflector that is dead."""


class Cohort:
    """Lines at the reflector at `reflector`.  `heard(self, datagrams)` is given what arrives while
    `listen(True)` holds, and the data plane otherwise."""

    def __init__(
        self,
        reflector: tuple[str, int],
        clock: Clock,
        heard: "Callable[[Cohort, Sequence[Datagram]], None]",
        *,
        prefer: str = "auto",
    ) -> None:
        self.reflector = reflector
        self._destination = pack_address(*reflector)
        self._clock = clock
        self._heard = heard
        self._ours = _socket(0)
        self._plane_s = _socket(self._ours.getsockname()[1])
        self.plane = load_forwarding(prefer)
        self._slots: list[dict[LineClient, None]] = [{} for _ in range(SLOTS)]
        self._slot_of: dict[LineClient, int] = {}
        self._reader = DatagramSocket(self._ours)
        self.listen(True)

    def listen(self, here: bool) -> None:
        """Whether what arrives is read here or by the data plane."""
        program = struct.pack("HBBI", _RETURN, 0, 0, 0 if here else 1)
        code = ctypes.create_string_buffer(program)
        filter_of = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
        self._ours.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, filter_of)

    def add(self, client: LineClient, slot: int) -> None:
        """Let a line's cells leave in `slot` of every tick."""
        self._slots[slot][client] = None
        self._slot_of[client] = slot

    def drop(self, client: LineClient) -> None:
        """No longer."""
        slot = self._slot_of.pop(client, None)
        if slot is not None:
            del self._slots[slot][client]

    def hand_over(self, client: LineClient) -> int:
        """Have the data plane go on with an open line; gives its number there."""
        slot = self._slot_of[client]
        self.drop(client)
        epochs = client._epochs
        assert epochs is not None
        epoch = epochs._chain.current
        number = self.plane.add_line(slot, epoch.down, self._clock.monotonic())
        assert number is not None, "two lines of one SSRC"
        self.plane.settle(number, epochs.sender.continued(epoch.up), self._destination, advance=False)
        return number

    def start(self) -> None:
        """Begin to receive, and to send what was handed over."""
        # What the reflector says to lines that were handed over is nothing that we wait for.
        self.plane.start([[self._plane_s]])
        asyncio.get_running_loop().add_reader(self._ours, self._receive)

    def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        self.plane.stop()
        self._ours.close()
        self._plane_s.close()

    def emit(self, number: int, now: float) -> list[LineClient]:
        """Let the cells of slot `number` leave; of which lines."""
        emitted = []
        for client in list(self._slots[number % SLOTS]):
            if not _is_left_out(client, number // SLOTS):
                with contextlib.suppress(BlockingIOError):
                    self._ours.sendto(client.next_cell(now), self.reflector)
                emitted.append(client)
        return emitted

    def _receive(self) -> None:
        for _ in range(_BATCHES):
            datagrams = self._reader.receive()
            if datagrams:
                self._heard(self, datagrams)
            if len(datagrams) < self._reader.most:
                return


def _is_left_out(client: LineClient, tick: int) -> bool:
    unanswered = not client.opened and client.counters["cells_sent"] >= _PATIENT_CELLS
    return unanswered and bool(tick % _IMPATIENT_TICKS)


def _socket(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    with contextlib.suppress(PermissionError):
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    made.bind(("127.0.0.1", port))
    return made

"""The reflector under attack, in a process of its own: data plane and control plane as they ship, with full lines.

`python -m bench.flood.victim` takes one JSON object a line on standard input, first its task, and answers each with
one; it ends with its standard input.  What an attacker and honest newcomers are to have of it, it gives away by itself.
"""

import asyncio
import json
import sys
from dataclasses import dataclass

from bench.flood.material import OwnLine
from relay.core import Clock, Entropy, SystemClock, SystemEntropy, TransportUnavailable
from relay.lab.load.subject import Subject, Task, add_lines, answer
from relay.media_reflector import Reflector, ReflectorReference, verify_descriptor
from relay.media_reflector.control import Control
from relay.media_reflector.forwarding import load_forwarding
from relay.media_reflector.forwarding.face import SLOTS, UpKeys, pack_address
from relay.media_reflector.handshake import AgentHandshake
from relay.media_reflector.keys import ReflectorKeys
from relay.media_reflector.link import CellSender, cell_ssrc, cell_timestamp, opener
from relay.media_reflector.server import CellServer
from relay.media_reflector.ticket_messages import ticket_request
from relay.media_reflector.tickets import LIFETIME, Ticket
from relay.rtp.cell import RTP_HEADER_SIZE, LinkType

_ONION = "a" * 56
_SPARE = 1000
"""Lines and tickets that this reflector could take beyond all that is foreseen: it is not to be full."""


@dataclass(frozen=True, slots=True)
class VictimTask(Task):
    """`first`: tickets whose first messages an attacker saw before they came to the reflector; `own`: lines that the
    attacker opened; `newcomers`: tickets of honest agents."""

    first: int = 200
    own: int = 200
    newcomers: int = 4000
    home: int = 9
    """Port of this machine at which the attacker's own lines are."""


class Victim(Subject):
    """The other end of it."""

    def __init__(self, task: VictimTask, cores: frozenset[int]) -> None:
        """Raises `TransportUnavailable` with what it said when it does not come up."""
        super().__init__(task, cores, module=__name__)
        given = self.ask({"want": "material"})
        reference = ReflectorReference(_ONION, bytes.fromhex(given["identity"]))
        signed = bytes.fromhex(given["descriptor"])
        self.descriptor = verify_descriptor(signed, reference, SystemClock().wall())
        self.first = [bytes.fromhex(cell) for cell in given["first"]]
        self.own = [
            OwnLine(UpKeys(ssrc, bytes.fromhex(key), bytes.fromhex(salt)), index)
            for ssrc, key, salt, index in given["own"]
        ]
        tickets = [(bytes.fromhex(number), bytes.fromhex(secret)) for number, secret in given["newcomers"]]
        self.tickets = [Ticket(number, secret, LIFETIME) for number, secret in tickets]


class _Prey:
    """All of a reflector but its sockets, and what happens to it before the attack."""

    def __init__(self, task: VictimTask, clock: Clock, entropy: Entropy) -> None:
        self.clock, self.entropy = clock, entropy
        self.keys = ReflectorKeys.generate(entropy)
        self.forwarding = load_forwarding(task.prefer)
        self.office = self.keys.office(task.first + task.newcomers + _SPARE, entropy, self.forwarding)
        self.reflector = Reflector(
            self.keys.static_key,
            self.office,
            self.forwarding,
            entropy,
            capacity=task.first + task.own + task.newcomers + _SPARE,
        )
        wall = clock.wall()
        self.signed = self.keys.signed_descriptor(
            _ONION, [("127.0.0.1", 7220)], wall, capacity=self.reflector.capacity
        )
        reference = ReflectorReference(_ONION, self.keys.public_identity)
        self.descriptor = verify_descriptor(self.signed, reference, wall)
        self._home = pack_address("127.0.0.1", task.home)
        self._slot = 0

    def first_message(self) -> bytes:
        """The cell of an agent that fetched a ticket and was about to open a line."""
        handshake, sender = self._handshake(self._fetched())
        return sender.handshake(handshake.first())

    def _fetched(self) -> Ticket:
        now = self.clock.monotonic()
        request, secret = ticket_request(self.descriptor, self.entropy)
        self.office.answer(request, lambda: self.signed, now)
        return Ticket.fresh(secret, now + LIFETIME)

    def _handed_out(self) -> Ticket:
        return self.office.resumption(self.clock.monotonic())

    def open_line(self) -> OwnLine:
        """A line of the attacker's own, opened as every line is."""
        handshake, sender = self._handshake(self._handed_out())
        self._receive(sender.handshake(handshake.first()))
        up, timestamp = self._answered(handshake)
        sender.keys = opener(up)
        proof = sender.seal(LinkType.CONTROL, Control.prove_answer(timestamp).to_body(self.entropy))
        self._receive(proof)
        return OwnLine(up, int.from_bytes(proof[2:4]) + 1)

    def _handshake(self, ticket: Ticket) -> tuple[AgentHandshake, CellSender]:
        sender = CellSender(self.entropy.below(1 << 32), self.entropy)
        return AgentHandshake(ticket, self.descriptor.static_key, sender.ssrc, self.entropy), sender

    def _receive(self, cell: bytes) -> None:
        now = self.clock.monotonic()
        self.forwarding.receive([(cell, self._home)], now)
        self.reflector.handle(self.forwarding.upcalls(), now)

    def _answered(self, handshake: AgentHandshake) -> tuple[UpKeys, int]:
        """(keys of the way up, timestamp of the answer)."""
        for _ in range(SLOTS):
            self._slot += 1
            for datagram, _ in self.forwarding.slot(self._slot, self.clock.monotonic()):
                found = handshake.answered(datagram[RTP_HEADER_SIZE:])
                if found is not None and found[0] == cell_ssrc(datagram):
                    return found[1].current.up, cell_timestamp(datagram)
        raise TransportUnavailable("the reflector did not answer its attacker")

    def material(self, task: VictimTask) -> dict[str, object]:
        first = [self.first_message().hex() for _ in range(task.first)]
        # Who comes for the first time, and who comes back.
        tickets = [self._fetched() if index % 2 else self._handed_out() for index in range(task.newcomers)]
        own = [self.open_line() for _ in range(task.own)]
        return {
            "identity": self.descriptor.identity.hex(),
            "descriptor": self.signed.hex(),
            "first": first,
            "own": [(line.up.ssrc, line.up.key.hex(), line.up.salt.hex(), line.index) for line in own],
            "newcomers": [(ticket.id.hex(), ticket.secret.hex()) for ticket in tickets],
        }


async def serve(task: VictimTask, clock: Clock, entropy: Entropy) -> None:
    """Be the reflector until standard input ends."""
    prey = _Prey(task, clock, entropy)
    prey.office.expire(clock.monotonic())
    material = prey.material(task)
    # Beside the control plane, which knows nothing of them: what a line costs it is not in question here.
    add_lines(prey.forwarding, task, clock.monotonic())
    server = CellServer(prey.reflector, prey.forwarding, clock)
    ((_, port),) = server.bind([("127.0.0.1", 0)], task.workers)
    running = asyncio.create_task(server.run())
    answer(name=prey.forwarding.name, port=port)
    try:
        while question := await _asked(running):
            wanted = json.loads(question).get("want")
            answer(**material if wanted == "material" else prey.reflector.counts())
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _asked(running: asyncio.Task[None]) -> str:
    """The next question; a reflector that ended by itself is no victim, but a failure."""
    reading: asyncio.Task[str] = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    await asyncio.wait((reading, running), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        await running
    return await reading


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    given["agent_ports"] = tuple(given["agent_ports"])
    try:
        asyncio.run(serve(VictimTask(**given), SystemClock(), SystemEntropy()))
    except TransportUnavailable as error:
        sys.exit(f"bayonne: {error}")

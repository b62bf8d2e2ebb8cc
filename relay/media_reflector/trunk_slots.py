"""One open trunk: its slots, each a line of the data plane at both ends, and what keeps it up.

On every slot one cell leaves in every tick, at the slot's own place in it, whatever it carries: chaff when the slot is
free or the call on it has nothing to pass on, bodies when it has; sealed, they are the same.  Slot 0 carries what the
two reflectors have to say to each other about the trunk, and never a call.  The others are taken by join code.
"""

from dataclasses import dataclass
from typing import Protocol

from relay.core import Counters, Entropy
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.epochs import EpochChain
from relay.media_reflector.exchange import WAITING_LIMIT
from relay.media_reflector.forwarding.face import SLOTS, Address, Forwarding
from relay.media_reflector.free_slots import FreeSlots
from relay.media_reflector.line import Line
from relay.media_reflector.link import CellSender
from relay.media_reflector.trunk_handshake import SlotChains
from relay.media_reflector.trunk_rekeying import Rekeying

ALIVE_EVERY = 0.5
SILENT_AFTER = 3.0
"""Seconds without a word from the far end after which a trunk is over, and the calls on it."""
STALL = 1.0
"""Seconds between two looks after which silence says more of us than of the far end."""
OPENED_AT_ONCE = 64
"""Slots opened in one call of `watch`; the others with the next ones."""

JOIN_SOON, SOON_JOINS, JOIN_LATER = 0.2, 10, 1.0
"""Seconds between two JOINs on a slot: the first few, and the others, for as long as the far end's line may take."""
LEAVES = 3
"""How often LEAVE is said, because each may be lost."""

DROPS = ("trunk_misplaced", "trunk_slot_taken")
"""Control of the far end that has no meaning on its slot, now or ever; a JOIN on a slot that is taken at this end."""


class SlotHost(Protocol):
    """What a trunk asks of its reflector."""

    def adopt(self, slot: Line) -> None:
        """Take a slot among the lines that can be crossed."""
        ...

    def dismiss(self, slot: Line) -> None:
        """It is gone; whoever is crossed with it is told."""
        ...

    def is_free(self, slot: Line) -> bool:
        """Whether it is under no code."""
        ...

    def give_up(self, slot: Line) -> None:
        """It stays; whoever is crossed with it, or waits to be, is told that it is not so."""
        ...


def begin_slot(forwarding: Forwarding, line: Line, sender: CellSender, address: Address) -> None:
    """Let cells leave on a slot, with the sequence numbers and timestamps that `sender` would go on with."""
    line.address = address
    down = sender.continued(line.outgoing(line.chain.current))
    forwarding.settle(line.number, down, address, advance=False)


def add_slot(
    forwarding: Forwarding, chain: EpochChain, place: int, now: float, *, begun_here: bool
) -> Line | None:
    """A slot at `place` in the tick; None when its SSRC is taken."""
    keys = chain.current.down if begun_here else chain.current.up
    number = forwarding.add_line(place % SLOTS, keys, now)
    return None if number is None else Line(number, place % SLOTS, chain, trunk=True, begun_here=begun_here)


@dataclass(slots=True)
class _Asking:
    """A slot that was taken here and waits for the far end."""

    code: bytes
    since: float
    due: float
    said: int = 0


class Trunk:
    """`peer` is the identity of the reflector at the far end, `slots` how many calls fit."""

    def __init__(
        self,
        peer: bytes,
        service: Line,
        chains: SlotChains,
        forwarding: Forwarding,
        entropy: Entropy,
        host: SlotHost,
        counters: Counters,
        now: float,
        *,
        proof: Control | None = None,
    ) -> None:
        """`service` is slot 0, on which cells leave already; `chains` are those of all slots, its own taken.

        `proof`, at the end that opened the trunk, is said until the far end was heard.  `counters` have `DROPS`.
        """
        self.peer = peer
        self.slots = len(chains) - 1
        self.broken = False
        self._chains = chains
        self._forwarding = forwarding
        self._entropy = entropy
        self._host = host
        self._counters = counters
        self._proof = proof
        self._begun_here = service.begun_here
        self._ended = False
        self._lines = [service]
        self._free = FreeSlots(host.is_free, entropy)
        self.numbers = {service.number: service}
        """The slots by the data plane's numbers."""
        self._heard = self._watched = now
        self._alive_at = now
        self._asking: dict[Line, _Asking] = {}
        self._leaving: dict[Line, tuple[Control, int]] = {}
        self._rekeying = Rekeying(forwarding, entropy)
        self._admit(service, now)
        if proof is None:
            self._open_more(now)

    @property
    def up(self) -> bool:
        """Whether all its slots are open and the far end was heard."""
        return not (self.broken or self._ended) and self._proof is None and len(self._lines) > self.slots

    # What the exchange asks.

    def take(self, code: bytes, now: float) -> Line | None:
        """A free slot; JOIN is said on it until it is answered.

        Each end takes the slots of the other one's half last, so that the two hardly ever take the same one at once.
        """
        if not self.up:
            return None
        slot = self._free.draw(1 if self._begun_here else 0)
        if slot is not None:
            self._leaving.pop(slot, None)
            self._asking[slot] = _Asking(code, now, now + JOIN_SOON)
            self._say(slot, Control(Operation.JOIN, code))
        return slot

    def free(self, slot: Line, code: bytes) -> None:
        """Say LEAVE; the slot may be taken again at once."""
        if not self._ended:
            self._asking.pop(slot, None)
            self._free.freed(slot)
            leave = Control(Operation.LEAVE, code)
            self._leaving[slot] = leave, LEAVES - 1
            self._say(slot, leave)

    # What the far end says.

    def obey(self, slot: Line, control: Control, now: float) -> bool:
        """False when it is for the exchange."""
        self._heard = now
        match control.operation:
            case Operation.ALIVE:
                if self._proof is not None:
                    self._proof = None
                    self._open_more(now)
            case Operation.PROVE if slot is self._lines[0] and not slot.begun_here:
                pass  # Said again until the far end hears us; it has done what it is for.
            case Operation.REKEY if not slot.begun_here:
                return False
            case Operation.REKEYED if slot.begun_here and self._rekeying.answered(slot, control.field, now):
                pass
            case Operation.CROSSED | Operation.REFUSED | Operation.LEAVE if slot is not self._lines[0]:
                return False
            case Operation.JOIN if slot is not self._lines[0]:
                if not self._keeps(slot, control.code):
                    return False
                self._counters.count("trunk_slot_taken")
            case _:
                # What agents say to reflectors, or reflectors to agents, has no meaning here.
                self._counters.count("trunk_misplaced")
        return True

    def _keeps(self, slot: Line, code: bytes) -> bool:
        """Whether the far end's JOIN is void, because both ends took the slot at once: it goes to who opened the
        trunk, the other one's call finds none."""
        asking = self._asking.get(slot)
        if asking is not None and slot.awaited and asking.code != code:
            if self._begun_here:
                return True
            self._host.give_up(slot)
        self._leaving.pop(slot, None)
        return False

    def follows(self, slot: Line) -> bool:
        """Whether a cell under the slot's following epoch is what we wait for."""
        return not slot.begun_here or self._rekeying.arrived(slot)

    # What time brings.

    def watch(self, now: float) -> None:
        """Call it every tenth of a second."""
        if self.broken:
            return
        if now - self._watched > STALL:
            self._heard = now
        self._watched = now
        if now - self._heard >= SILENT_AFTER:
            self.broken = True
            return
        service = self._lines[0]
        if self._proof is not None:
            self._say(service, self._proof)
            return
        if len(self._lines) <= self.slots:
            self._open_more(now)
        if now >= self._alive_at:
            self._alive_at = now + ALIVE_EVERY
            self._say(service, Control(Operation.ALIVE))
        self._ask_again(now)
        for slot, (leave, left) in list(self._leaving.items()):
            self._say(slot, leave)
            self._leaving[slot] = leave, left - 1
            if left <= 1:
                del self._leaving[slot]
        self._free.watch()
        self._rekeying.watch(now, self._host.is_free, self._say)

    def _open_more(self, now: float) -> None:
        first = len(self._lines)
        address, offset = self._lines[0].address, self._lines[0].slot
        assert address is not None, "slot 0 comes first"
        for number in range(first, min(first + OPENED_AT_ONCE, self.slots + 1)):
            chain = self._chains.next()
            slot = add_slot(self._forwarding, chain, offset + number, now, begun_here=self._begun_here)
            if slot is None:
                # Its SSRC is taken here, by one in some million lines: with other keys it will not be.
                self.broken = True
                return
            sender = CellSender(slot.outgoing(chain.current).ssrc, self._entropy)
            begin_slot(self._forwarding, slot, sender, address)
            self._lines.append(slot)
            self.numbers[slot.number] = slot
            self._free.add(slot, number % 2)
            self._admit(slot, now)

    def _admit(self, slot: Line, now: float) -> None:
        self._host.adopt(slot)
        if slot.begun_here:
            self._rekeying.schedule(slot, now)

    def _ask_again(self, now: float) -> None:
        for slot, asking in list(self._asking.items()):
            if not slot.awaited:
                del self._asking[slot]
            elif now - asking.since >= WAITING_LIMIT:
                del self._asking[slot]
                self._host.give_up(slot)
            elif now >= asking.due:
                asking.said += 1
                asking.due = now + (JOIN_SOON if asking.said < SOON_JOINS else JOIN_LATER)
                self._say(slot, Control(Operation.JOIN, asking.code))

    def _say(self, slot: Line, control: Control) -> None:
        self._forwarding.control(slot.number, control.to_body(self._entropy))

    def end(self) -> None:
        """Give all slots back; calls on them end."""
        self._ended = True
        for slot in self._lines:
            self._host.dismiss(slot)

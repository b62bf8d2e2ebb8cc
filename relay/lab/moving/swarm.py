"""Many agents' lines, in calls and idle, that decide for themselves where to go on (`relay.agent.failover`)."""

import asyncio
import heapq
import itertools
from collections.abc import Sequence

from relay.agent.failover import Failover, GiveUp, Keep, Open, Output, Place, Release
from relay.agent.line import START_UP
from relay.chaff import Scatter
from relay.core import Clock, Entropy
from relay.forward_publish import CallKeys
from relay.lab.moving.cohort import Cohort
from relay.lab.moving.lines import Agent, Branch, Move
from relay.media_reflector import (
    BackupReceived,
    Descriptor,
    LineClient,
    LineCrossed,
    LineEvent,
    LineLost,
    LineOpened,
    ResumptionReceived,
    Ticket,
)
from relay.media_reflector.client import LOST_AFTER
from relay.media_reflector.client_joining import JOIN_EVERY
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.forwarding.face import SLOT_SECONDS, SLOTS, Datagram
from relay.media_reflector.link import is_cell
from relay.rtp.cell import TICK

_UP_CELLS = 2
"""Authentic cells after which a line is up: the answer to its handshake, and the first one of its own."""


class Swarm:
    """`calls` pairs of lines and `idle` single ones, at the reflector of `home`; `away` is its backup's descriptor."""

    def __init__(
        self,
        home: Descriptor,
        away: Descriptor,
        calls: int,
        idle: int,
        clock: Clock,
        entropy: Entropy,
        *,
        scatter_in_call: Scatter | None = None,
        prefer: str = "auto",
        cohorts: int = 4,
    ) -> None:
        """`scatter_in_call` is for the control that is to be caught: another policy for lines in calls.

        The lines share `cohorts` ports at each reflector: an answer that comes to one of them is tried on every line
        that is being opened there.
        """
        self._clock = clock
        self._entropy = entropy
        self._descriptors = {descriptor.identity: descriptor for descriptor in (home, away)}
        self._home = home
        self._cohorts = {
            descriptor.identity: [
                Cohort(descriptor.addresses[0], clock, self._heard, prefer=prefer) for _ in range(cohorts)
            ]
            for descriptor in (home, away)
        }
        self._by_ssrc: dict[bytes, Branch] = {}
        self._opening: dict[Cohort, dict[Branch, None]] = {
            one: {} for cohorts in self._cohorts.values() for one in cohorts
        }
        self._by_client: dict[LineClient, Branch] = {}
        self._deadlines: list[tuple[float, int, Agent]] = []
        self._order = itertools.count()
        self._watching = False
        self.agents = [self._agent(keys, scatter_in_call) for keys in _keys(calls, entropy)]
        for one, other in zip(self.agents[::2], self.agents[1::2], strict=True):
            one.other, other.other = other, one
        self.agents += [self._agent(None, None) for _ in range(idle)]

    def _agent(self, keys: CallKeys | None, scatter: Scatter | None) -> Agent:
        core = Failover(self._entropy, scatter)
        core.meets = keys is not None
        return Agent(core, keys, self._entropy.below(SLOTS), Move(keys is not None))

    @property
    def moves(self) -> list[Move]:
        return [agent.move for agent in self.agents]

    @property
    def up(self) -> int:
        """Lines that are open, and crossed if they are in a call."""
        return sum(branch.up for agent in self.agents for branch in agent.branches.values())

    @property
    def handed_out(self) -> int:
        """Lines that hold both tickets."""
        return sum(agent.provided for agent in self.agents)

    def cells_received(self, descriptor: Descriptor) -> int:
        """By lines handed over, of that reflector's."""
        cohorts = self._cohorts[descriptor.identity]
        return sum(cohort.plane.counters()["cells_received"] for cohort in cohorts)

    async def run(self) -> None:
        """Until cancelled."""
        for cohort in self._opening:
            cohort.start()
        try:
            await self._go_through_slots()
        finally:
            for cohort in self._opening:
                cohort.stop()

    async def _go_through_slots(self) -> None:
        done = int(self._clock.monotonic() / SLOT_SECONDS)
        while True:
            now = self._clock.monotonic()
            due = int(now / SLOT_SECONDS)
            # After a standstill of more than a tick its departures are left out, never sent in a burst.
            for number in range(max(done, due - SLOTS) + 1, due + 1):
                for cohort in self._opening:
                    for client in cohort.emit(number, now):
                        self._emitted(client, now)
            done = due
            while self._deadlines and self._deadlines[0][0] <= now:
                self._look(heapq.heappop(self._deadlines)[2], now)
            await asyncio.sleep(max(0.0, (due + 1) * SLOT_SECONDS - self._clock.monotonic()))

    def open(self, agent: Agent, ticket: Ticket) -> None:
        """Its first line."""
        self._begin(agent, 0, self._home, self._client(agent, self._home, ticket))

    def listen(self, descriptor: Descriptor, here: bool) -> None:
        """Whether cells of that reflector are read one by one, for who hears what, or by the data plane."""
        for cohort in self._cohorts[descriptor.identity]:
            cohort.listen(here)

    def watch(self) -> None:
        """From now on a line that hears nothing is lost.  Cells have to be listened to for some ticks before."""
        self._watching = True
        for agent in self.agents:
            self._due(agent, agent.branches[0].heard_at + LOST_AFTER)

    # -- cells -----------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make what every line will open its next one with.  A thousand agents have a thousand processors for it."""
        for agent in self.agents:
            assert agent.resumption is not None
            assert agent.backup is not None
            identity, ticket = agent.backup
            away = self._descriptors[identity]
            agent.ready[Place.HERE] = self._home, self._client(agent, self._home, agent.resumption)
            agent.ready[Place.BACKUP] = away, self._client(agent, away, ticket)

    def _client(self, agent: Agent, descriptor: Descriptor, ticket: Ticket) -> LineClient:
        code = None if agent.keys is None else agent.keys.join_code(descriptor.identity)
        return LineClient(descriptor, ticket, self._entropy, join_code=code)

    def _begin(self, agent: Agent, number: int, descriptor: Descriptor, client: LineClient) -> None:
        cohorts = self._cohorts[descriptor.identity]
        cohort = cohorts[agent.slot % len(cohorts)]
        branch = Branch(agent, number, cohort, client, descriptor.identity, descriptor != self._home)
        agent.branches[number] = branch
        self._by_client[client] = branch
        self._opening[cohort][branch] = None
        # Whoever opens a line starts a process to send its cells, and that takes a moment.
        asyncio.get_running_loop().call_later(START_UP, cohort.add, client, agent.slot)

    def _emitted(self, client: LineClient, now: float) -> None:
        branch = self._by_client[client]
        if client.counters["cells_sent"] == 1 and branch.away:
            branch.agent.move.began = now
        for event in client.events():
            self._event(branch, event, now)

    def _heard(self, cohort: Cohort, datagrams: Sequence[Datagram]) -> None:
        now = self._clock.monotonic()
        known = self._by_ssrc
        for cell, _ in datagrams:
            branch = known.get(cell[8:12])
            if branch is None:
                if is_cell(cell):
                    self._answered(cohort, cell, now)
                continue
            branch.heard_at = now
            if branch.listens and not self._says_nothing(branch):
                self._take(branch, cell, now)

    def _answered(self, cohort: Cohort, cell: bytes, now: float) -> None:
        """A handshake's answer says for whom it is only to the one who can open it; nobody else is waiting long."""
        for branch in list(self._opening[cohort]):
            if branch.client.counters["cells_sent"] and self._take(branch, cell, now):
                self._by_ssrc[cell[8:12]] = branch
                del self._opening[cohort][branch]
                return

    def _take(self, branch: Branch, cell: bytes, now: float) -> bool:
        client = branch.client
        for event in client.receive(cell, now):
            self._event(branch, event, now)
        if branch.native is None and client.counters["cells_received"] >= _UP_CELLS:
            branch.native = branch.cohort.hand_over(client)
            del self._by_client[client]
            if branch.agent.keys is not None:
                self._join(branch)
        branch.listens = not branch.up or not branch.agent.provided
        return client.opened

    def _join(self, branch: Branch) -> None:
        """Say it again and again, as `LineClient` does: the data plane makes its cells by now."""
        if branch.native is None or branch.client.crossed or not branch.listens:
            return
        assert branch.agent.keys is not None
        code = branch.agent.keys.join_code(branch.identity)
        body = Control(Operation.JOIN, code).to_body(self._entropy)
        branch.cohort.plane.control(branch.native, body)
        asyncio.get_running_loop().call_later(JOIN_EVERY * TICK, self._join, branch)

    def _says_nothing(self, branch: Branch) -> bool:
        """Whether nothing but chaff can be in the cells of a line: it waits for another one that is not open yet.

        To open all of them would take the time of more processors than one.
        """
        other = branch.agent.other
        if other is None or branch.native is None or not branch.agent.provided:
            return False
        return not any(one.identity == branch.identity and one.native for one in other.branches.values())

    # -- decisions -------------------------------------------------------------------------------------------------

    def _event(self, branch: Branch, event: LineEvent, now: float) -> None:
        agent = branch.agent
        match event:
            case LineOpened():
                agent.core.opened(branch.number)
                if branch.away:
                    agent.move.opened = now
            case LineCrossed():
                agent.core.crossed(branch.number)
                if branch.away:
                    agent.move.crossed = now
            case ResumptionReceived(ticket):
                agent.resumption = ticket
            case BackupReceived(identity, ticket):
                agent.backup = identity, ticket
            case LineLost():
                agent.core.failed(branch.number, now)
                self._due(agent, now)
            case _:
                pass

    def _due(self, agent: Agent, at: float) -> None:
        heapq.heappush(self._deadlines, (at, next(self._order), agent))

    def _look(self, agent: Agent, now: float) -> None:
        if self._watching and agent.core.present == 0 and not agent.core.silent:
            if now < agent.branches[0].heard_at + LOST_AFTER:
                self._due(agent, agent.branches[0].heard_at + LOST_AFTER)
                return
            agent.move.lost = now
            agent.core.lost(0, now)
        agent.core.tick(now)
        for output in agent.core.outputs():
            self._carry_out(agent, output, now)
        if (deadline := agent.core.deadline()) is not None:
            self._due(agent, max(deadline, now))

    def _carry_out(self, agent: Agent, output: Output, now: float) -> None:
        match output:
            case Open(number, place):
                if place in agent.ready:
                    self._begin(agent, number, *agent.ready.pop(place))
                else:
                    agent.core.failed(number, now)
            case Release(number):
                branch = agent.branches.pop(number, None)
                if branch is None:
                    return
                self._by_client.pop(branch.client, None)
                self._opening[branch.cohort].pop(branch, None)
                branch.listens = False
                branch.cohort.drop(branch.client)
                if branch.native is not None:
                    branch.cohort.plane.remove(branch.native)
            case Keep() | GiveUp():
                pass


def _keys(calls: int, entropy: Entropy) -> list[CallKeys]:
    """Both ends' keys of every call."""
    found = []
    for _ in range(calls):
        one, other, transcript, again = (entropy.token(32) for _ in range(4))
        found += [CallKeys(one, other, transcript, again), CallKeys(other, one, transcript, again)]
    return found

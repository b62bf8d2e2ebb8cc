"""Keeps a line of this agent up: holds the present one, and while it moves the others; `failover` decides.

Whoever owns the line (a call, or nobody any more) sees one line: bodies are asked for once, and go where the other end
is to be heard.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, assert_never

from relay.agent.berths import Berth, Berths
from relay.agent.failover import Failover, GiveUp, Keep, Open, Output, Place, Release
from relay.agent.line import BLUR, Line
from relay.agent.line_owner import LineOwner
from relay.agent.surroundings import Surroundings
from relay.chaff import Pace
from relay.core import BayonneError
from relay.media_reflector import (
    BackupReceived,
    BodyReceived,
    Draining,
    JoinRefused,
    LineClient,
    LineCrossed,
    LineEvent,
    LineHeard,
    LineLost,
    LineOpened,
    LossCause,
    ResumptionReceived,
    TicketKind,
)
from relay.rtp.cell import TICK

GOODBYE_SECONDS = 0.5
ASK_AGAIN = 0.7
"""Seconds after which a line that moved asks again for a trunk that it was refused."""
MOST_TRIES = 6
_WHERE = {
    Place.HERE: "at the same reflector",
    Place.AFRESH: "at the same reflector, with another ticket",
    Place.BACKUP: "at its backup",
}


@dataclass(slots=True)
class _Held:
    berth: Berth
    place: Place | None
    line: Line
    task: "asyncio.Task[None]"
    released: bool = False

    @property
    def up(self) -> bool:
        return not self.task.done()


class LineKeeper:
    """One line, wherever it is.

    It begins at `guard`, a reflector's id, and meets the other one under `join_code`, over the trunk to `via` if that
    is given.
    """

    def __init__(
        self,
        owner: LineOwner,
        around: Surroundings,
        guard: str,
        join_code: bytes,
        via: bytes | None,
    ) -> None:
        self._owner = owner
        self._around = around
        self._berths = Berths(around.pool, guard, around.line_address, around.clock)
        self._meeting: tuple[bytes, bytes | None] = join_code, via
        self._core = Failover(around.entropy)
        self._held: dict[int, _Held] = {}
        """Branches that are not over; the line itself may have ended, as long as it was not released."""
        self._finding: dict[int, asyncio.Task[None]] = {}
        self._waiting: set[int] = set()
        """Branches that wait where they are, after the trunk from there broke."""
        self._tries: dict[int, int] = {}
        """How often a branch that moved was refused the trunk from there."""
        self._stirred = asyncio.Event()
        self._was_open = False
        self._was_crossed = False
        self._reason = ""

    async def run(self) -> None:
        """Keep it up until it was released, or nothing is left.  Raises `BayonneError` when there is no line to begin
        with."""
        self._begin(0, self._berths.first(), None)
        try:
            while self._busy:
                self._core.meets = self._wanted
                self._core.tick(self._now())
                for output in self._core.outputs():
                    self._carry_out(output)
                await self._until_stirred()
        except asyncio.CancelledError:
            # The agent stops: a line still says goodbye to its reflector.
            self.release()
            if tasks := [held.task for held in self._held.values() if held.up]:
                await asyncio.wait(tasks, timeout=GOODBYE_SECONDS)
            raise
        finally:
            for task in [*self._finding.values(), *(held.task for held in self._held.values())]:
                task.cancel()

    def release(self) -> None:
        """Close whatever is open, in order; `run` returns soon."""
        self._core.over = True
        for task in self._finding.values():
            task.cancel()
        for number in list(self._held):
            self._release(number)
        self._stirred.set()

    def _release(self, number: int) -> None:
        held = self._held[number]
        held.released = True
        held.line.release()
        if not held.up:
            del self._held[number]

    @property
    def _busy(self) -> bool:
        up = any(held.up for held in self._held.values())
        return up or bool(self._finding) or self._core.deadline() is not None

    async def _until_stirred(self) -> None:
        if not self._busy:
            return
        deadline = self._core.deadline()
        wait = None if deadline is None else max(0.0, deadline - self._now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._stirred.wait()
        self._stirred.clear()

    @property
    def _wanted(self) -> bool:
        """Whether the line is to meet another one, should it move."""
        identity = self._held[self._core.present].berth.descriptor.identity
        return self._owner.meets_at(identity) is not None

    # -- what is decided -----------------------------------------------------------------------------------------

    def _carry_out(self, output: Output) -> None:
        match output:
            case Open(number, place):
                self._around.report("line-moving", where=_WHERE[place])
                self._open(number, place)
            case Keep(number):
                self._keep(self._held[number])
            case Release(number):
                if (finding := self._finding.pop(number, None)) is not None:
                    finding.cancel()
                if number in self._held:
                    self._release(number)
            case GiveUp():
                self.release()
                self._owner.line_lost(self._reason)
            case _:
                assert_never(output)

    def _open(self, number: int, place: Place) -> None:
        left = self._held[self._core.present]
        client = left.line.client
        try:
            match place:
                case Place.AFRESH:
                    self._find(number, place, self._berths.afresh())
                case Place.HERE:
                    resumption, client.resumption = client.resumption, None
                    self._begin(number, self._berths.here(left.berth, resumption), place)
                case Place.BACKUP:
                    backup, client.backup = client.backup, None
                    try:
                        berth = self._berths.backup(left.berth, backup)
                    except BayonneError:
                        self._find(number, place, self._berths.backup_fetched(left.berth))
                    else:
                        self._begin(number, berth, place)
                case _:
                    assert_never(place)
        except BayonneError:
            self._failed(number)

    def _find(self, number: int, place: Place, search: Coroutine[Any, Any, Berth]) -> None:
        async def find() -> None:
            try:
                self._begin(number, await search, place)
            except (BayonneError, OSError):
                self._failed(number)
            finally:
                self._finding.pop(number, None)
                self._stirred.set()

        self._finding[number] = asyncio.create_task(find())

    def _begin(self, number: int, berth: Berth, place: Place | None) -> None:
        """Raises `PeerError` when the descriptor's keys are of no use."""
        entropy = self._around.entropy
        if place in (None, Place.AFRESH):
            code, via = self._meeting
            client = LineClient(berth.descriptor, berth.ticket, entropy, join_code=code, via=via)
        else:
            again, via = self._owner.meets_at(berth.descriptor.identity) or (None, None)
            client = LineClient(berth.descriptor, berth.ticket, entropy, join_code=again, via=via)
        line = Line(
            client,
            berth.address,
            local_address=self._around.line_address,
            pace=Pace.at_random(TICK, entropy, blur=BLUR),
            entropy=entropy,
            clock=self._around.clock,
            source=lambda: self._owner.next_body() if self._core.speaking == number else None,
            on_event=lambda event: self._event(number, event),
        )
        self._held[number] = _Held(berth, place, line, asyncio.create_task(self._run_line(number, line)))

    async def _run_line(self, number: int, line: Line) -> None:
        try:
            await line.run()
        except BayonneError as error:
            self._reason = str(error)
            if self._was_open:
                # Its sender ended: that it is not heard any more is all there is to it.
                self._core.lost(number, self._now())
            else:
                self.release()
                self._owner.line_lost(self._reason)
        finally:
            if number in self._held and self._held[number].released:
                del self._held[number]
            self._stirred.set()

    def _keep(self, held: _Held) -> None:
        self._around.report("line-moved", where=_WHERE[held.place] if held.place is not None else "")
        if (
            held.place is Place.HERE
            and not held.line.client.crossed
            and self._wanted
            and not self._owner.over_trunk
        ):
            # The other end may have had no line here before, and can only know the code that was agreed.
            held.line.client.join(*self._meeting)

    # -- what lines say ------------------------------------------------------------------------------------------

    def _event(self, number: int, event: LineEvent) -> None:
        now = self._now()
        match event:
            case BodyReceived(body):
                if self._owner.take_body(body):
                    self._core.spoke(number, now)
                return
            case LineOpened():
                self._core.opened(number)
                if not self._was_open:
                    self._was_open = True
                    self._owner.line_open()
            case LineCrossed():
                self._was_crossed = True
                self._waiting.discard(number)
                self._tries.pop(number, None)
                self._core.crossed(number)
            case LineHeard():
                self._core.heard(number, now)
            case LineLost(reason, cause):
                self._lost(number, reason, cause)
            case JoinRefused(reason):
                self._refused(number, reason)
            case Draining() | ResumptionReceived() | BackupReceived():
                # The client keeps the tickets.  That its reflector drains makes no line move (ADR 6).
                return
            case _:
                assert_never(event)
        self._stirred.set()

    def _refused(self, number: int, reason: str) -> None:
        """No crossing, or no more.  Over a trunk that may be because the other end's reflector died: then its line
        moves, and comes back to where this one waits; and a line that moved asks again while the trunk from there may
        not be up yet.  That nobody comes, the call notices by itself."""
        held = self._held.get(number)
        if held is None or held.released:
            return
        identity = held.berth.descriptor.identity
        code = self._owner.waits_at(identity) if self._was_crossed and held.place is None else None
        if code is not None and number not in self._waiting:
            self._waiting.add(number)
            self._around.report("trunk-broke")
            held.line.client.join(code, None)
        elif (
            held.place is not None and (again := self._owner.meets_at(identity)) and self._tries_left(number)
        ):
            asyncio.get_running_loop().call_later(ASK_AGAIN, self._ask_again, number, again)
        elif number == self._core.present:
            self._owner.not_crossed(reason)

    def _tries_left(self, number: int) -> bool:
        self._tries[number] = self._tries.get(number, 0) + 1
        return self._owner.over_trunk and self._tries[number] <= MOST_TRIES

    def _ask_again(self, number: int, meeting: tuple[bytes, bytes | None]) -> None:
        held = self._held.get(number)
        if held is not None and held.up and not held.released and not held.line.client.crossed:
            held.line.client.join(*meeting)

    def _lost(self, number: int, reason: str, cause: LossCause) -> None:
        if number == self._core.present:
            self._reason = reason
        if cause in (LossCause.SILENT, LossCause.ENDED):
            self._core.lost(number, self._now())
            return
        berth = self._held[number].berth
        if cause is LossCause.UNANSWERED and berth.ticket.kind is TicketKind.FETCHED:
            self._berths.distrust(berth)
        self._failed(number)

    def _failed(self, number: int) -> None:
        self._core.failed(number, self._now())
        self._stirred.set()

    def _now(self) -> float:
        return self._around.clock.monotonic()

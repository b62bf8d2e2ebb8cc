"""The line of one call: opened at its time, moved where it must, closed at its time."""

import asyncio
from collections.abc import Callable

from relay.agent.call import Call
from relay.agent.call_voice import CallVoice
from relay.agent.line_keeper import LineKeeper
from relay.agent.surroundings import Surroundings
from relay.core import BayonneError


class CallLine:
    """What a line is for (`LineOwner`), where that is a call.

    `reflector` is the id of the guard at which it opens, `join_code` what it meets the other line under; where that one
    is at another reflector, `trunk` is the identity to which a trunk leads.  `pump` carries out what the call wants;
    `probe` asks the phone whether it is still there.
    """

    def __init__(
        self,
        around: Surroundings,
        call: Call,
        voice: CallVoice,
        *,
        pump: Callable[[], None],
        probe: Callable[[], None],
    ) -> None:
        self.reflector = ""
        self.join_code = b""
        self.trunk: bytes | None = None
        self.other_end: bytes | None = None
        """The identity of the reflector at which the other line began, where that is not this one's."""
        self._around = around
        self._call = call
        self._voice = voice
        self._pump = pump
        self._probe = probe
        self._keeper: LineKeeper | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self, at: float) -> None:
        """Open it at `at`, and keep it up."""
        self._task = self._around.spawn("line", self._hold(at))

    async def _hold(self, at: float) -> None:
        around = self._around
        await asyncio.sleep(max(0.0, at - self._now()))
        around.report("line-opening")
        self._keeper = LineKeeper(self, around, self.reflector, self.join_code, self.trunk)
        try:
            await self._keeper.run()
        except BayonneError as error:
            self.line_lost(str(error))
        finally:
            self._keeper = None
            around.report("line-closed")

    def release(self, at: float) -> None:
        """Close it at `at`."""

        async def release() -> None:
            await asyncio.sleep(max(0.0, at - self._now()))
            if self._keeper is not None:
                self._keeper.release()

        if self._keeper is not None:
            self._around.spawn("release", release())
        elif self._task is not None:
            # Not open yet: then it never opens, and shows nobody anything.
            self._task.cancel()

    # -- what the keeper says and asks ---------------------------------------------------------------------------

    def line_open(self) -> None:
        self._call.line_open()
        self._pump()

    def line_lost(self, reason: str) -> None:
        self._call.line_lost(reason, self._now())
        self._pump()

    def not_crossed(self, reason: str) -> None:
        self._call.not_crossed(reason, self._now())
        self._pump()

    @property
    def over_trunk(self) -> bool:
        return self.other_end is not None

    def meets_at(self, identity: bytes) -> tuple[bytes, bytes | None] | None:
        """With a trunk between them whichever line still is where it was waits there, under the code of that place;
        the one that had to move comes to it, over a trunk if it is not at that very reflector now."""
        keyed = self._voice.keyed
        if keyed is None:
            return None
        if self.other_end is None:
            return keyed.join_code(identity), None
        return keyed.join_code(self.other_end), None if identity == self.other_end else self.other_end

    def waits_at(self, identity: bytes) -> bytes | None:
        """The code under which this line, still at the reflector of this identity, waits for the other one to come back
        after the trunk broke."""
        keyed = self._voice.keyed
        return None if keyed is None or self.other_end is None else keyed.join_code(identity)

    def next_body(self) -> bytes | None:
        return self._voice.next_body()

    def take_body(self, body: bytes) -> bool:
        return self._voice.take_body(body, self._body_arrived)

    def _body_arrived(self, first: bool) -> None:
        now = self._now()
        if first:
            self._call.crossed(now)
            self._pump()
            return
        if self._call.heard(now):
            self._pump()
        if self._voice.phone_is_silent(now):
            self._probe()

    def _now(self) -> float:
        return self._around.clock.monotonic()

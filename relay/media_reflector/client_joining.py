"""An agent's join code on its way to being crossed."""

from relay.core import MisuseError
from relay.media_reflector.control import IDENTITY_SIZE, JOIN_CODE_SIZE, Control, Operation
from relay.media_reflector.line_events import JoinRefused, LineCrossed

CROSSING_TIMEOUT = 120.0
"""Seconds that a join code waits for its other line."""
JOIN_EVERY = 10
"""Ticks between two JOIN cells."""


class Joining:
    """At most one code at a time, said again and again until it is crossed or refused."""

    def __init__(self) -> None:
        self.crossed = False
        self._code: bytes | None = None
        self._via: bytes | None = None
        self._since = -1.0
        self._ticks = 0

    def ask(self, code: bytes, via: bytes | None) -> None:
        """Ask for `code` in place of any other; over a trunk to the reflector of identity `via`, if given."""
        if len(code) != JOIN_CODE_SIZE or (via is not None and len(via) != IDENTITY_SIZE):
            raise MisuseError("a join code has 16 bytes, an identity 32")
        self._code, self._via = code, via
        self._since = -1.0
        self._ticks = 0
        self.crossed = False

    def drop(self) -> bytes | None:
        """Ask no more; gives the code, if there was one."""
        code, self._code = self._code, None
        self.crossed = False
        return code

    def watch(self, now: float) -> JoinRefused | None:
        """Call it in every tick of an open line."""
        if self._code is None or self.crossed:
            return None
        if self._since < 0:
            self._since = now
        elif now - self._since >= CROSSING_TIMEOUT:
            self._code = None
            return JoinRefused("the other line did not come in time")
        return None

    def next_control(self) -> Control | None:
        """What is due in this tick."""
        if self._code is None or self.crossed:
            return None
        due = self._ticks == 0
        self._ticks = (self._ticks + 1) % JOIN_EVERY
        if not due:
            return None
        if self._via is None:
            return Control(Operation.JOIN, self._code)
        return Control.join_via(self._code, self._via)

    def answered(self, control: Control) -> LineCrossed | JoinRefused | None:
        """What CROSSED or REFUSED means; None when it is about an older code, or known."""
        if control.code != self._code:
            return None
        if control.operation is Operation.CROSSED:
            known, self.crossed = self.crossed, True
            return None if known else LineCrossed()
        self._code = None
        if self.crossed:
            self.crossed = False
            return JoinRefused("the trunk to the other side's reflector broke", control.seconds)
        reason = "the reflector does not cross this code now; another try may do later"
        return JoinRefused(reason, control.seconds)

"""Says when a contact point's store begins to fail, and when it takes entries again: one line each.

Nobody else would see it: publishers hear that there is no room and try again later, and lookups are answered as ever.
"""

from relay.core import Clock, get_logger

CALM = 60.0
"""Seconds without a failure after which a store that keeps entries is said to work: on a disk that is nearly full some
find room and others do not, and the log must not tell of each."""

_log = get_logger("contact-point")


class StoreWatch:
    """Hears what becomes of everything that is written; `failing` is what was said last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.failing = False
        self._failed_at = 0.0
        self._written = False

    def heard(self, failure: str) -> None:
        """Something was kept or forgotten for good, or, with a sentence that names nobody, could not be."""
        if not failure:
            self._written = True
            return self.look()
        self._failed_at, self._written = self._clock.monotonic(), False
        if not self.failing:
            self.failing = True
            _log.error(failure)

    def look(self) -> None:
        """Time has passed; call it now and then."""
        calm = self._clock.monotonic() - self._failed_at >= CALM
        if self.failing and self._written and calm:
            self.failing = False
            _log.info("the record store takes entries again")

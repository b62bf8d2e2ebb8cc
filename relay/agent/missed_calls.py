"""Writes down the calls that were missed, on either side, until they are told (`relay.agent.missed`)."""

import asyncio
from collections.abc import Callable
from functools import partial

from relay.agent.call import Side
from relay.agent.call_runner import CallRunner
from relay.agent.contact_file import Contact
from relay.agent.contacts import ContactBook
from relay.agent.surroundings import Surroundings
from relay.core import BayonneError, get_logger

NOTED_AFTER = (2.0, 20.0)
"""Seconds after which a missed call is written down: not at the moment when a message came or a call ended, in which
the disk could delay the cells of a line."""

_log = get_logger("missed-calls")


class MissedCalls:
    """Hears how calls end, and remembers those that did not come about."""

    def __init__(self, book: ContactBook, surroundings: Surroundings) -> None:
        self._book = book
        self._around = surroundings

    def rang(self, contact: Contact, event: str) -> None:
        """The contact rang and no phone did; `event` tells the owner why."""
        self._around.report(event, contact=contact.name)
        self._later(partial(self._book.missed_call, contact, self._around.clock.wall()))

    def ended(self, runner: CallRunner) -> None:
        """A call is over: was it missed here, or there?"""
        call, wall = runner.call, self._around.clock.wall()
        if call.side is Side.CALLEE and call.untaken:
            self._later(partial(self._book.missed_call, runner.contact, wall))
        elif call.side is Side.CALLER and runner.tried and not runner.heard_of:
            self._later(partial(self._book.not_heard, runner.contact, wall))

    def not_sent(self, contact: Contact) -> None:
        """We would have rung a contact whose agent was not heard of for long: it is told when it is back."""
        if contact.secret:
            self._later(partial(self._book.not_heard, contact, self._around.clock.wall()))

    def spoken(self, contact: Contact) -> None:
        """The contact took a call of ours: what it missed before is no news."""
        if contact.tries:
            self._later(partial(self._book.spoken, contact))

    def _later(self, note: Callable[[], None]) -> None:
        delay = self._around.entropy.uniform(*NOTED_AFTER)
        asyncio.get_running_loop().call_later(delay, _write, note)


def _write(note: Callable[[], None]) -> None:
    try:
        note()
    except BayonneError as error:
        _log.error("a missed call could not be written down", kind=type(error).__name__)

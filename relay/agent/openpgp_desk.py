"""Runs the signatures of calls: GnuPG beside the event loop, messages into the cells, outcomes to whoever judges.

A thin shell around `relay.agent.openpgp_exchange`.  No call waits for it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Protocol, assert_never

from relay.agent.events import Reporter
from relay.agent.openpgp_exchange import Check, Effect, Say, SignatureExchange, Silent
from relay.agent.openpgp_status import Signature
from relay.agent.voice_security import Agreement, Cells, Comparing
from relay.core import BayonneError, Clock, PeerError, get_logger

_log = get_logger("openpgp")


class Signer(Protocol):
    """`relay.agent.openpgp.GnuPG`.  Either may raise anything: it starts a program."""

    async def sign(self, data: bytes) -> bytes: ...
    async def check(self, data: bytes, signature: bytes, fingerprint: str) -> Signature: ...


class _Signing:
    """One call's."""

    def __init__(self, exchange: SignatureExchange, contact: str, fingerprint: str, cells: Cells) -> None:
        self.exchange = exchange
        self.contact = contact
        self.fingerprint = fingerprint
        self.cells = cells
        self.timer: asyncio.TimerHandle | None = None
        self.tasks: set[asyncio.Task[None]] = set()


class Signatures:
    """All calls' signatures.  `found` is told what GnuPG said of the other side's, UNCHECKED where it could not be
    asked, and `silent` where none came: one of the two in every call that lasts."""

    def __init__(
        self,
        signer: Signer,
        *,
        clock: Clock,
        report: Reporter,
        found: Callable[[Comparing, Signature], None],
        silent: Callable[[Comparing], None],
    ) -> None:
        self._signer = signer
        self._clock = clock
        self._report = report
        self._found = found
        self._silent = silent
        self._calls: dict[Comparing, _Signing] = {}

    def begin(self, call: Comparing, contact: str, agreed: Agreement, fingerprint: str, cells: Cells) -> None:
        """Sign the keys of a call with `contact`, and check what its other side signs with the key `fingerprint`."""
        signing = _Signing(SignatureExchange(agreed, self._clock.monotonic()), contact, fingerprint, cells)
        self._calls[call] = signing
        cells.on_signature = partial(self._heard, call)
        self._spawn(signing, self._sign(call, signing))
        self._do(call, signing, [])

    def _heard(self, call: Comparing, data: bytes) -> None:
        if (signing := self._calls.get(call)) is not None:
            try:
                effects = signing.exchange.receive(data, self._clock.monotonic())
            except PeerError as error:
                _log.info("a message about signatures was dropped", why=error.reason)
            else:
                self._do(call, signing, effects)

    def ended(self, call: Comparing) -> None:
        """The call is over; GnuPG is not waited for."""
        if (signing := self._calls.pop(call, None)) is not None:
            if signing.timer is not None:
                signing.timer.cancel()
            for task in signing.tasks:
                task.cancel()

    def _do(self, call: Comparing, signing: _Signing, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say(message):
                    signing.cells.say_signature(message)
                case Check(statement, signature):
                    self._spawn(signing, self._check(call, signing, statement, signature))
                case Silent():
                    self._silent(call)
                case _:
                    assert_never(effect)
        if signing.timer is not None:
            signing.timer.cancel()
            signing.timer = None
        if (deadline := signing.exchange.deadline) is not None:
            delay = max(0.0, deadline - self._clock.monotonic())
            signing.timer = asyncio.get_running_loop().call_later(delay, self._due, call, signing)

    def _due(self, call: Comparing, signing: _Signing) -> None:
        signing.timer = None
        self._do(call, signing, signing.exchange.due(self._clock.monotonic()))

    async def _sign(self, call: Comparing, signing: _Signing) -> None:
        try:
            signature = await self._signer.sign(signing.exchange.own_statement)
        except BayonneError as error:
            self._report("openpgp-off", why=str(error))
        except Exception as error:  # whatever keeps it from being run: no memory, no files, no threads
            _log.error("GnuPG could not be run", kind=type(error).__name__)
            self._report("openpgp-off", why="GnuPG could not be run")
        else:
            self._do(call, signing, signing.exchange.signed(signature, self._clock.monotonic()))

    async def _check(self, call: Comparing, signing: _Signing, statement: bytes, signature: bytes) -> None:
        try:
            found = await self._signer.check(statement, signature, signing.fingerprint)
        except Exception as error:  # of whatever kind: a signature that nobody looked at was not a good one
            _log.error("GnuPG could not be run", kind=type(error).__name__)
            found = Signature.UNCHECKED
        self._found(call, found)

    def _spawn(self, signing: _Signing, job: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        signing.tasks.add(task)
        task.add_done_callback(signing.tasks.discard)

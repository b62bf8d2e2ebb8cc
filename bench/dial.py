"""From the phone's INVITE to the first byte on its way to the contact point, in an agent whose streams are warm.

`python -m bench.dial [--rounds 200] [--out dial-out]`; ends with 1 when the row does not hold.  The agent's parts are
the real ones; the contact point is a socket on loopback, and Tor is not there: what Tor takes afterwards is the
network's, and is in `bayonne demo`'s figures.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import cast

import numpy as np

from bench.report import Report, Row, at_most, reported
from relay.agent import Agent, AgentSettings, PlainFiles, missed_calls
from relay.agent.calls import Calls
from relay.agent.circuits import CallingCircuits, CircuitTimes, MessageSender
from relay.agent.commands import Tone
from relay.agent.contact_file import IntroductionRequest, Place, Whereabouts
from relay.agent.events import Value
from relay.agent.flows import Flows
from relay.agent.phone import Cancelled, IncomingInvite, PhoneCall
from relay.agent.reflectors import ReflectorPool
from relay.agent.surroundings import Surroundings
from relay.core import Clock, SystemClock, SystemEntropy
from relay.forward_publish import Prekey, current_period
from relay.identity import Identity
from relay.sip.opus_offer import neutral_offer
from relay.sip.sdp import SessionDescription
from relay.sip.uri import SipUri

LIMIT_MS = 50.0
HERE, THERE = "a" * 56, "b" * 56
_GUARD = "d" * 32
_MUCH_LATER = 86400.0
_WARM = CircuitTimes(begin=(0.0, 0.0), after_use=(0.0, 0.0))


class Loopback:
    """A contact point that takes everything, and the dialer that leads there."""

    def __init__(self, clock: Clock) -> None:
        self.first_byte = 0.0
        self.heard = asyncio.Event()
        self._clock = clock

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            if not self.heard.is_set():
                self.first_byte = self._clock.monotonic()
            self.heard.set()
        writer.close()


class Warm:
    """Stands for the agent's flows: our tokens are bound, and streams stand open."""

    def __init__(self, loopback: Loopback, clock: Clock) -> None:
        entropy = SystemEntropy()
        self.circuits = CallingCircuits(loopback, clock, entropy, _WARM)
        self._sender = MessageSender(loopback, entropy, self.circuits)

    @property
    def ready(self) -> bool:
        """Whether a stream stands open."""
        slot = self.circuits._slots.get(THERE)
        return slot is not None and slot.stream is not None

    def bound(self, onion: str, token: str) -> bool:
        return True

    async def send(self, onion: str, token: str, body: bytes) -> None:
        await self._sender.send(onion, token, body)


class Guards:
    """One guard, so that there is something to offer."""

    def offer(self) -> tuple[str, ...]:
        return (_GUARD,)


class Phone:
    """Takes what the agent says to a phone, and says nothing."""

    def progress(self, status: int, reason: str, *, now: float) -> None: ...
    def refuse(self, status: int, reason: str, *, now: float) -> None: ...
    def answer(self, session: SessionDescription, *, now: float) -> None: ...
    def hang_up(self, *, now: float) -> None: ...
    def probe(self, now: float) -> None: ...


class Bench:
    """An agent with one contact."""

    def __init__(self, directory: Path, clock: Clock, loopback: Loopback) -> None:
        self._clock = clock
        self._loopback = loopback
        self._tasks: set[asyncio.Task[None]] = set()
        settings = AgentSettings(str(directory), contact_points=(HERE,))
        state = PlainFiles(settings.directory)
        # A person does not dial a hundred times a second: what is written down later comes after the last dial.
        missed_calls.NOTED_AFTER = (_MUCH_LATER, _MUCH_LATER)
        agent = Agent(settings, clock, SystemEntropy(), self._report)
        agent.build(state)
        self.warm = Warm(loopback, clock)
        around = Surroundings(
            identity=agent._identity,
            clock=clock,
            entropy=SystemEntropy(),
            pool=cast(ReflectorPool, Guards()),
            messenger=agent._correspondence,
            report=self._report,
            tones={Tone.WAITING: [], Tone.FAREWELL: []},
            line_address="",
            media_host="127.0.0.1",
            spawn=self._spawn,
            zids=agent._zids,
            listener=agent._verification,
        )
        book = agent._book
        self.calls = Calls(
            settings, around, book, place=lambda *_: None, usable=lambda: "", doubt=agent._domains.doubt
        )
        agent._correspondence.join(cast(Flows, self.warm), self.calls)
        wall, entropy = clock.wall(), SystemEntropy()
        peer = Identity.generate(entropy).public_key
        prekey = Prekey.generate(entropy, wall).public
        there = Whereabouts(
            (Place(THERE, "t" * 52),), prekey, current_period(wall), 1, int(wall) + 86400, int(wall)
        )
        assert book.asked(IntroductionRequest("00", "bob", peer, entropy.token(32), there, "", int(wall)))
        book.accept("00", "bob", entropy)

    async def dial(self) -> float:
        """Milliseconds from the phone's INVITE to the first byte at the contact point."""
        self.warm.circuits.keep([THERE])
        while not self.warm.ready:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)
        self._loopback.heard.clear()
        phone = cast(PhoneCall, Phone())
        offer = neutral_offer(address="127.0.0.1", port=9, session_id=1)
        began = self._clock.monotonic()
        self.calls.phone_event(IncomingInvite(phone, SipUri.parse("sip:bob@127.0.0.1"), offer))
        await self._loopback.heard.wait()
        took = 1000.0 * (self._loopback.first_byte - began)
        self.calls.phone_event(Cancelled(phone))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return took

    def _report(self, event: str, /, **fields: Value) -> None:
        pass

    def _spawn(self, name: str, job: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(job, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def measure(rounds: int) -> list[Row]:
    """The rows: what most dials take, and the slowest of a hundred."""
    clock = SystemClock()
    loopback = Loopback(clock)
    await loopback.start()
    with tempfile.TemporaryDirectory(prefix="bayonne-dial-") as directory:
        bench = Bench(Path(directory), clock, loopback)
        try:
            took = [await bench.dial() for _ in range(rounds)]
        finally:
            await bench.warm.circuits.close()
            await loopback.close()
    how = f"{rounds} dials of a contact with warm whereabouts and an open stream; loopback in Tor's place"
    return [
        reported(
            "agent, warm: dial to first outgoing byte, median (ms)", float(np.percentile(took, 50)), how
        ),
        at_most(
            "agent, warm: dial to first outgoing byte, 99 of 100 (ms)",
            LIMIT_MS,
            float(np.percentile(took, 99)),
            how,
        ),
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.dial")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("dial-out"))
    options = parser.parse_args(arguments)
    report = Report(quick=options.rounds < 100)
    report.rows = asyncio.run(measure(options.rounds))
    options.out.mkdir(parents=True, exist_ok=True)
    report.write(options.out, SystemClock())
    for row in report.rows:
        print(f"{row.measure:<62} {row.value:>8}  {row.target}")
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

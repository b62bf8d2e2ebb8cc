"""The agent: the one place where identity meets media.  Starts the parts, joins them, stops them."""

import asyncio
import signal
from collections.abc import Coroutine

from relay.agent.accepted import AcceptedReflectors
from relay.agent.calls import Calls
from relay.agent.commands import Tone
from relay.agent.contacts import ContactBook
from relay.agent.correspondence import Correspondence
from relay.agent.directory import Directory
from relay.agent.events import Reporter
from relay.agent.flows import Flows
from relay.agent.network import Network
from relay.agent.phone import PhoneCall, PhoneEvent, PhoneServer, PhoneSettings, Registered, Unregistered
from relay.agent.phone_leg import MOST_PIPS, encoded_pips
from relay.agent.prekeys import PrekeyRing
from relay.agent.reachability import NOTICE_EVERY, Reachability
from relay.agent.reflectors import ReflectorPool
from relay.agent.settings import AgentSettings, listen_address
from relay.agent.state import StateDirectory
from relay.agent.surroundings import Surroundings
from relay.core import BayonneError, Clock, Entropy, get_logger
from relay.rtp import HANG_UP_TONE, WAITING_TONE, encode_tone
from relay.sip.sdp import SessionDescription

GOODBYE_SECONDS = 3.0
"""How long a stopping agent takes to say goodbye."""

_log = get_logger("agent")


class Agent:
    """One caller's daemon.  `run` returns when it was told to stop (SIGINT, SIGTERM, or `stop`)."""

    def __init__(self, settings: AgentSettings, clock: Clock, entropy: Entropy, report: Reporter) -> None:
        self._settings = settings
        self._clock = clock
        self._entropy = entropy
        self._report = report
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """End `run` in order."""
        self._stop.set()

    @property
    def tor_pid(self) -> int | None:
        """The process of this agent's own tor, while there is one."""
        return self._network.pid

    @property
    def sip_address(self) -> tuple[str, int]:
        """Where softphones register."""
        return listen_address(self._settings.sip_listen)

    @property
    def busy(self) -> bool:
        """Whether a call is on, or a line is up or about to be."""
        return bool(self._tasks) or self._calls.any

    async def run(self) -> None:
        """Serve until stopped.  Raises `ConfigurationError`, `TransportUnavailable`."""
        state = StateDirectory(self._settings.directory)
        state.prepare()
        state.claim()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        try:
            self._build(state)
            await self._serve()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            state.release()

    def _build(self, state: StateDirectory) -> None:
        settings, clock, entropy, report = self._settings, self._clock, self._entropy, self._report
        self._identity = state.identity(entropy)
        self._book = ContactBook(state)
        self._book.refresh()
        self._prekeys = PrekeyRing(state, entropy)
        self._correspondence = Correspondence(
            self._identity, self._book, self._prekeys, clock=clock, entropy=entropy
        )
        host, port = listen_address(settings.sip_listen)
        phone = state.softphone(settings.name, entropy)
        self._network = Network(
            settings.tor,
            settings.directory,
            clock=clock,
            entropy=entropy,
            report=report,
            lost=self._tor_lost,
            back=self._tor_back,
        )
        self._pool = ReflectorPool(
            AcceptedReflectors(settings).at,
            state,
            clock,
            entropy,
            report=report,
            line_address=settings.line_address,
        )
        self._flows = Flows(self._network, settings.contact_points[0], entropy, self._correspondence.receive)
        self._reachability = Reachability(
            self._identity,
            self._book,
            self._prekeys,
            Directory(self._network, entropy),
            settings.contact_points,
            bound=self._flows.bound,
            clock=clock,
            entropy=entropy,
            report=report,
        )
        self._phones = PhoneServer(
            PhoneSettings(phone.user, phone.password, host, port), clock, entropy, self._phone_event
        )
        for count in range(1, MOST_PIPS + 1):
            encoded_pips(count)
        surroundings = Surroundings(
            identity=self._identity,
            clock=clock,
            entropy=entropy,
            pool=self._pool,
            messenger=self._correspondence,
            report=report,
            tones={Tone.WAITING: encode_tone(WAITING_TONE), Tone.FAREWELL: encode_tone(HANG_UP_TONE)},
            line_address=settings.line_address,
            media_host=host,
            spawn=self._spawn,
        )
        self._calls = Calls(settings, surroundings, self._book, place=self._place, usable=self._why_not)
        self._correspondence.join(self._flows, self._calls)

    async def _serve(self) -> None:
        report = self._report
        await self._phones.start()
        report("softphone", user=self._phones.settings.user, server=self._settings.sip_listen)
        jobs = [
            asyncio.create_task(job)
            for job in (
                self._network.run(),
                self._seek(),
                self._follow(),
                self._correspondence.read(),
                self._correspondence.send_dummies(self._settings.chaff.dummy_interval),
            )
        ]
        announcing = asyncio.create_task(self._announce())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait((*jobs, stopping), return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                job.result()
        finally:
            await self._calls.stop(GOODBYE_SECONDS)
            await self._last_words()
            for task in (*jobs, announcing, stopping, *self._tasks):
                task.cancel()
            await asyncio.gather(*jobs, announcing, stopping, *self._tasks, return_exceptions=True)
            await self._flows.close()
            await self._phones.close()

    async def _last_words(self) -> None:
        """Let what ended calls had to say go out: else somebody's phone rings on for nobody."""
        words = [task for task in self._tasks if task.get_name() in ("answer", "note")]
        if words:
            await asyncio.wait(words, timeout=GOODBYE_SECONDS)

    async def _announce(self) -> None:
        self._report("starting", stage="Tor")
        await self._network.wait_up()
        self._report("starting", stage="reflectors")
        await self._pool.wait_ready()
        self._report("ready")

    async def _seek(self) -> None:
        """Once Tor is up for the first time: reflectors and contacts, on their own schedules."""
        await self._network.wait_up()
        await asyncio.gather(
            self._pool.run(self._network, lambda: self._network.up), self._reachability.run()
        )

    async def _follow(self) -> None:
        """Notice contacts that came or went, also by `bayonne contact`."""
        await self._network.wait_up()
        followed = -1
        while True:
            self._book.refresh()
            if self._book.version != followed:
                followed = self._book.version
                await self._flows.follow(self._book)
            await asyncio.sleep(NOTICE_EVERY)

    # -- what calls need -----------------------------------------------------------------------------------------

    def _why_not(self) -> str:
        if not self._network.up:
            return "Tor is not running"
        if not self._pool.ready():
            return "none of your guards takes a line just now"
        return ""

    def _tor_lost(self, reason: str) -> None:
        self._calls.transport_lost(f"Tor was lost: {reason}")

    def _tor_back(self) -> None:
        self._flows.hurry()

    def _place(self, caller: str, display: str, offer: SessionDescription) -> PhoneCall | None:
        return self._phones.place(caller, display, offer)

    # -- what comes in -------------------------------------------------------------------------------------------

    def _phone_event(self, event: PhoneEvent) -> None:
        if isinstance(event, Registered):
            self._report("registered")
        elif isinstance(event, Unregistered):
            self._report("unregistered")
        else:
            self._calls.phone_event(event)

    def _spawn(self, name: str, job: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(job, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            known = isinstance(error, BayonneError)
            _log.error(
                "a task failed", task=task.get_name(), why=str(error) if known else type(error).__name__
            )

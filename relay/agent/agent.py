"""The agent while its state is open: the one place where identity meets media.  Starts the parts, joins and stops them.

`relay.agent.daemon` runs it, and locks it up.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping
from functools import partial
from pathlib import Path

from relay.agent.accepted import AcceptedReflectors
from relay.agent.behind import Behind
from relay.agent.calls import Calls
from relay.agent.commands import Tone
from relay.agent.contacts import ContactBook
from relay.agent.control import Handler
from relay.agent.correspondence import Correspondence
from relay.agent.credentials import own_identity, own_softphone
from relay.agent.descriptor_pulls import DescriptorPulls
from relay.agent.directory import Directory
from relay.agent.domain_desk import RESOLVE, DomainDesk
from relay.agent.events import Reporter
from relay.agent.flows import Flows
from relay.agent.invitations import Introductions
from relay.agent.kept import Kept, Watched, read_or_pass_over
from relay.agent.listings import ListingKeeper, open_listings
from relay.agent.network import Network
from relay.agent.openpgp import GnuPG
from relay.agent.phone import PhoneCall, PhoneEvent, PhoneServer, PhoneSettings, Registered, Unregistered
from relay.agent.phone_leg import MOST_PIPS, encoded_pips
from relay.agent.prekeys import PrekeyRing
from relay.agent.reachability import NOTICE_EVERY, Reachability
from relay.agent.reflectors import ReflectorPool
from relay.agent.settings import AgentSettings, listen_address
from relay.agent.surroundings import Surroundings
from relay.agent.tokens_at import TokensAt
from relay.agent.verification_desk import COMPARED, WORDS, VerificationDesk
from relay.agent.zid_cache import ZidCache
from relay.core import BayonneError, Clock, ConfigurationError, Entropy, get_logger
from relay.forward_publish import ReplayCache
from relay.rtp import HANG_UP_TONE, WAITING_TONE, encode_tone
from relay.sip.sdp import SessionDescription

FOLLOW_EVERY = 60.0
"""Seconds after which tokens are looked at although the contact book did not change."""
REPLAYS_FILE = "replays"
GOODBYE_SECONDS = 3.0
"""How long a stopping agent takes to say goodbye."""
WRITING_SECONDS = 10.0
"""How long it waits for its disk then."""

_log = get_logger("agent")


class Agent:
    """One caller's parts.  `run` returns when it was told to `stop`."""

    def __init__(
        self,
        settings: AgentSettings,
        clock: Clock,
        entropy: Entropy,
        report: Reporter,
        *,
        directory: Path | None = None,
    ) -> None:
        """`directory`: where Tor's own files lie, where not in the state directory."""
        self._settings = settings
        self._tor_place = directory or settings.directory
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
        return bool(self._tasks) or self.in_call

    @property
    def in_call(self) -> bool:
        """Whether a call is on."""
        return self._calls.any

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What commands beside the agent may ask of it while it runs."""
        return {
            RESOLVE: self._domains.resolve,
            WORDS: self._verification.words,
            COMPARED: self._verification.compared,
        }

    def build(self, kept: Kept) -> None:
        """Read what is kept, and join the parts: before anything else.  Raises `ConfigurationError`, `NotKept`."""
        settings, clock, entropy, report = self._settings, self._clock, self._entropy, self._report
        self._state = state = Watched(kept, report)
        self._identity = own_identity(state, entropy)
        self._book = ContactBook(state)
        self._book.refresh()
        self._prekeys = PrekeyRing(state, entropy)
        self._prekeys.expire(clock.wall())
        self._replays = ReplayCache.from_bytes(read_or_pass_over(state, REPLAYS_FILE), clock.wall())
        self._tokens = TokensAt(self._book, settings.contact_points, clock)
        introductions = Introductions(
            self._identity,
            self._book,
            self._prekeys,
            settings.accept_introductions,
            clock=clock,
            entropy=entropy,
            report=report,
        )
        self._correspondence = Correspondence(
            self._identity,
            self._book,
            self._prekeys,
            self._tokens,
            introductions,
            clock=clock,
            entropy=entropy,
            replays=self._replays,
        )
        host, port = listen_address(settings.sip_listen)
        phone = own_softphone(state, settings.name, entropy)
        self._network = Network(
            settings.tor,
            self._tor_place,
            clock=clock,
            entropy=entropy,
            report=report,
            lost=self._tor_lost,
            back=self._tor_back,
        )
        self._domains = DomainDesk(
            settings.domains,
            self._network,
            self._book,
            state,
            clock=clock,
            entropy=entropy,
            report=report,
        )
        self._behind = Behind()
        self._zids = ZidCache(state, clock, entropy, self._behind)
        self._zids.check()
        self._verification = VerificationDesk(
            self._book,
            self._zids,
            clock=clock,
            report=report,
            hang_up=lambda contact_id: self._calls.hang_up_with(contact_id),
            signer=GnuPG(settings.openpgp, lambda: self._book.openpgp),
            later=self._behind,
        )
        self._pool = ReflectorPool(
            AcceptedReflectors(settings).at,
            state,
            clock,
            entropy,
            report=report,
            line_address=settings.line_address,
        )
        self._flows = Flows(self._network, clock, entropy, self._correspondence.receive, state=state)
        self._directory = Directory(self._network, clock, entropy)
        self._reachability = Reachability(
            self._identity,
            self._book,
            self._prekeys,
            self._directory,
            self._correspondence,
            settings.contact_points,
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
            zids=self._zids,
            listener=self._verification,
        )
        self._calls = Calls(
            settings,
            surroundings,
            self._book,
            place=self._place,
            usable=self._why_not,
            doubt=self._domains.doubt,
        )
        self._correspondence.join(self._flows, self._calls)

    async def run(self) -> None:
        """Serve until stopped.  Raises `ConfigurationError`, `TransportUnavailable`."""
        report = self._report
        await self._phones.start()
        report("softphone", user=self._phones.settings.user, server=self._settings.sip_listen)
        jobs = [
            asyncio.create_task(job)
            for job in (
                self._network.run(),
                self._domains.run(),
                self._seek(),
                self._keep_listings(),
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
            self._keep_replays()
            await self._behind.close(WRITING_SECONDS)

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
        points = self._settings.contact_points
        descriptors = DescriptorPulls(self._pool, self._directory, points, self._clock, self._entropy)
        await asyncio.gather(
            self._pool.run(self._network, lambda: self._network.up),
            self._reachability.run(),
            descriptors.run(),
        )

    async def _keep_listings(self) -> None:
        """All standing listings, for searches.  Where their copy cannot be kept, calls go on without it."""
        await self._network.wait_up()
        if not self._settings.search.enabled:
            return await _for_ever()
        try:
            index = await open_listings(self._state)
        except ConfigurationError as error:
            self._report("listings-off", why=str(error))
            return await _for_ever()
        try:
            keeper = ListingKeeper(
                index,
                self._directory,
                self._settings.contact_points,
                self._state,
                self._clock,
                self._entropy,
            )
            await keeper.run()
        finally:
            await index.close()

    async def _follow(self) -> None:
        """Notice contacts that came or went, also by `bayonne contact`; bind the tokens that go with them."""
        await self._network.wait_up()
        followed, again_at = -1, 0.0
        while True:
            self._book.refresh()
            now = self._clock.monotonic()
            if self._book.version != followed or now >= again_at:
                # Every period has tokens of its own: they come and go without anybody's doing.
                tokens, wanted = self._tokens, self._tokens.wanted()
                followed = self._book.version
                again_at = now + tokens.quiet_for(FOLLOW_EVERY)
                await self._flows.follow(wanted, alone=tokens.alone, periods=tokens.periods)
                self._flows.keep_warm(self._rung_at())
                self._prekeys.expire(self._clock.wall())
                self._zids.keep_only(contact.id for contact in self._book)
                self._keep_replays()
            await asyncio.sleep(NOTICE_EVERY)

    def _keep_replays(self) -> None:
        """So that a ring that came shortly before a restart does not ring again after it."""
        if self._replays.changed:
            content = self._replays.to_bytes(self._clock.wall())
            write = partial(self._state.write, REPLAYS_FILE, content)
            # What could not be kept was told; it comes again with the next ring.
            self._behind.do(write, lambda _: None, lambda _: None)

    def _rung_at(self) -> list[str]:
        """The contact points where most contacts are rung, first."""
        wall = self._clock.wall()
        counts = Counter(
            contact.whereabouts.places[0].onion
            for contact in self._book
            if contact.whereabouts is not None and contact.callable_at(wall)
        )
        return [onion for onion, _ in counts.most_common()]

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


async def _for_ever() -> None:
    """Until cancelled."""
    await asyncio.Event().wait()

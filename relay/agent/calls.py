"""All calls of an agent: what a phone dials becomes a ring, what a ring asks makes the phone ring."""

import asyncio
import contextlib
import re
from collections.abc import Callable

from relay.agent.call import NOWHERE_TO_MEET, SETTLE_SECONDS, Call, Phase, Side
from relay.agent.call_runner import CallRunner
from relay.agent.contact_file import Contact, Whereabouts
from relay.agent.contacts import ContactBook
from relay.agent.delivery import Target
from relay.agent.dialled import NONE_OF_YOURS, find_dialled, is_petname
from relay.agent.meeting import NOTHING_IN_COMMON
from relay.agent.missed_calls import MissedCalls
from relay.agent.permissions import may_ring
from relay.agent.phone import (
    Answered,
    Cancelled,
    HungUp,
    IncomingInvite,
    PhoneCall,
    PhoneEvent,
    Refused,
    Reoffered,
    Ringing,
)
from relay.agent.sealed_dialog import JOIN_CODE_SIZE, MAX_REFLECTORS, Answer, SealedDialog
from relay.agent.settings import LONGEST_START_DELAY, AgentSettings
from relay.agent.surroundings import Surroundings
from relay.chaff import StaggeredTeardown, StartDelay
from relay.core import BayonneError, PeerError, RefusedByPolicy, TransportUnavailable
from relay.forward_publish import (
    CallKeys,
    OpenedNote,
    OpenedRing,
    Peer,
    Reply,
    current_period,
    is_token,
    seal_ring,
)
from relay.identity import format_address
from relay.sip.opus_offer import PhoneVoice, find_voice, phone_offer
from relay.sip.sdp import SessionDescription
from relay.sip.uri import SipUri

MAX_CALLS = 4
"""Calls at one time, lingering lines not counted: a person has one phone."""

HEAD_START = 2.0
"""Seconds by which the callee's phone stops ringing before the caller gives up, so that no answer comes too late."""
BOUND_SECONDS = 10.0
"""How long a ring waits for our own flow: without it no answer could come."""
NOT_FOUND = 404
NOBODY_THERE = 480
DOUBTED = 403
_ONION = re.compile(r"[a-z2-7]{56}")


class Calls:
    """Joins the phone's side and the contacts' side.

    `place` rings the registered phone; `usable` says why no call can be made right now, or "" when one can;
    `doubt` why a contact must not be called.
    """

    def __init__(
        self,
        settings: AgentSettings,
        surroundings: Surroundings,
        book: ContactBook,
        *,
        place: Callable[[str, str, SessionDescription], PhoneCall | None],
        usable: Callable[[], str],
        doubt: Callable[[Contact], str],
    ) -> None:
        self._around = surroundings
        self._book = book
        self._place = place
        self._usable = usable
        self._doubt = doubt
        self._ring_seconds = settings.ring_seconds
        self._contact_points = settings.contact_points
        self._start_delay = StartDelay(settings.chaff.start_delay)
        self._stagger = StaggeredTeardown(settings.chaff.staggered_teardown, minimum=SETTLE_SECONDS)
        self._missed = MissedCalls(book, surroundings)
        self._runners: list[CallRunner] = []

    # -- the phone's side ----------------------------------------------------------------------------------------

    def phone_event(self, event: PhoneEvent) -> None:
        """What the phone did."""
        now = self._now()
        match event:
            case IncomingInvite(phone, dialled, offer):
                self._dial(phone, dialled, offer)
            case Ringing(phone) if (runner := self._of(phone)) is not None:
                runner.call.phone_rings()
                runner.pump()
            case Answered(phone, answer) if (runner := self._of(phone)) is not None:
                self._phone_answered(runner, answer)
            case Reoffered(phone, offer) if (runner := self._of(phone)) is not None:
                self._phone_moved(runner, offer)
            case Refused(phone, status) if (runner := self._of(phone)) is not None:
                runner.call.refused_by_phone(status)
                runner.pump()
            case Cancelled(phone) | HungUp(phone) if (runner := self._of(phone)) is not None:
                runner.call.hung_up_by_phone(now)
                runner.pump()
            case _:
                pass

    def _dial(self, phone: PhoneCall, dialled: SipUri, offer: SessionDescription) -> None:
        now = self._now()
        own_key = self._around.identity.public_key
        contact = find_dialled(self._book, dialled, own_key)
        if contact is None:
            if not is_petname(dialled, own_key):
                self._around.report("failed", status=NOT_FOUND, reason=NONE_OF_YOURS)
            phone.refuse(NOT_FOUND, "Not a contact", now=now)
            return
        if why := self._usable():
            self._around.report("failed", status=503, reason=why)
            phone.refuse(503, why.capitalize(), now=now)
            return
        if contact.blocked:
            self._around.report("failed", status=NOBODY_THERE, reason=f"you blocked {contact.name}")
            phone.refuse(NOBODY_THERE, "Blocked by you", now=now)
            return
        if why := self._doubt(contact):
            self._around.report("failed", status=DOUBTED, reason=why)
            phone.refuse(DOUBTED, "Changed at the domain", now=now)
            return
        if contact.whereabouts is None or not contact.callable_at(self._wall()):
            self._missed.not_sent(contact)
            how_long = "yet" if contact.whereabouts is None else "any more"
            why = f"nothing is known {how_long} of where {contact.name} is"
            self._around.report("failed", status=NOBODY_THERE, reason=why)
            phone.refuse(NOBODY_THERE, "Not heard of yet", now=now)
            return
        if len(self._active()) >= MAX_CALLS:
            phone.refuse(486, "Busy here", now=now)
            return
        try:
            voice = find_voice(offer)
        except RefusedByPolicy as error:
            self._around.report("failed", status=488, reason=str(error))
            phone.refuse(488, "No codec in common", now=now)
            return
        join_code = self._around.entropy.token(JOIN_CODE_SIZE)
        runner = self._runner(Side.CALLER, contact, self._dialog(contact), self._ring_seconds)
        runner.take_over(join_code, None)
        runner.phone = phone
        self._runners.append(runner)
        runner.pump()
        runner.offer_of_phone = offer
        job = self._ring(runner, contact.whereabouts, join_code, voice)
        runner.ring_task = self._around.spawn("ring", job)

    async def _ring(
        self,
        runner: CallRunner,
        whereabouts: Whereabouts,
        join_code: bytes,
        voice: PhoneVoice,
    ) -> None:
        around, contact = self._around, runner.contact
        try:
            await runner.open_leg()
            runner.connect_leg(voice)
            ours = runner.voice.security.take_phone(voice)
            runner.offered = around.pool.offer()[:MAX_REFLECTORS]
            if not runner.offered:
                raise TransportUnavailable("none of your guards takes a line just now")
            sip = runner.dialog.invite(ours, runner.offered, join_code, self._ring_seconds)
            reply = Reply(*await self._where_to_answer(contact))
            if runner.call.ended:
                # Given up in the meantime: what rings after its own CANCEL rings for nobody.
                return
            peer = Peer(contact.public_key, contact.secret)
            body, runner.ring = seal_ring(
                around.identity, peer, whereabouts.prekey, sip, reply, around.clock, around.entropy
            )
            await runner.send_to_contact(body)
        except PeerError as error:
            runner.transport_lost(f"the contact's keys are of no use: {error.reason}")
        except BayonneError as error:
            runner.transport_lost(str(error))
        else:
            runner.call.ring_sent()
            runner.pump()

    async def _where_to_answer(self, contact: Contact) -> Target:
        """A contact point of ours, and our token there that is taken up.  Raises `TransportUnavailable`."""
        messenger = self._around.messenger
        period = current_period(self._wall())
        ours = [(onion, contact.token(onion, period).token) for onion in self._contact_points]
        if not any(messenger.bound(*one) for one in ours):
            await messenger.wait_bound(ours, BOUND_SECONDS)
        return next((one for one in ours if messenger.bound(*one)), ours[0])

    def _phone_answered(self, runner: CallRunner, answer: SessionDescription) -> None:
        now = self._now()
        try:
            voice = find_voice(answer)
            runner.connect_leg(voice)
        except (RefusedByPolicy, TransportUnavailable):
            if runner.phone is not None:
                runner.phone.hang_up(now=now)
            runner.call.refused_by_phone(488)
        else:
            runner.answer_for_peer = runner.voice.security.take_phone(voice)
            runner.call.answered_by_phone(now)
        runner.pump()

    def _phone_moved(self, runner: CallRunner, offer: SessionDescription) -> None:
        """The phone offered its session again, perhaps at another port: what it hears follows."""
        with contextlib.suppress(RefusedByPolicy, TransportUnavailable):
            runner.connect_leg(find_voice(offer))

    # -- the contacts' side --------------------------------------------------------------------------------------

    def sealed_answer(self, contact: Contact, body: bytes) -> bool:
        """Try `body` as the answer to a ring of ours.  False when it is none."""
        for runner in self._active():
            if runner.ring is None or runner.contact.id != contact.id:
                continue
            opened = runner.ring.open_answer(body)
            if opened is None:
                continue
            sip, keys = opened
            try:
                self._take_answer(runner, runner.dialog.read_answer(sip), keys)
            except PeerError:
                # Authentic and yet of no use: the contact's own doing, and no other answer will come.
                runner.transport_lost("the answer made no sense")
                raise
            return True
        return False

    def _take_answer(self, runner: CallRunner, answer: Answer, keys: CallKeys) -> None:
        if answer.status < 300:
            meeting = answer.meeting
            if meeting is None or meeting.callers not in runner.offered:
                raise PeerError("a reflector that was not offered")
            if meeting.via:
                runner.line.trunk = runner.line.other_end = self._around.pool.trunk(meeting.via, meeting.own)
                if runner.line.trunk is None:
                    raise PeerError("a trunk that is not there")
            runner.line.reflector = meeting.callers
            runner.take_answer(answer.voice)
            runner.keyed(keys)
        runner.ring = None
        runner.heard_of = True
        if answer.status < 300:
            self._missed.spoken(runner.contact)
        runner.call.answered_by_peer(answer.status, self._now())
        runner.pump()

    def sealed_note(self, contact: Contact, note: OpenedNote) -> None:
        """A CANCEL or BYE that came by way of the contact point; a dummy says nothing and ends here."""
        if note.dummy:
            return
        for runner in self._active():
            if runner.contact.id != contact.id:
                continue
            try:
                method, _ = runner.dialog.read_request(note.sip)
            except PeerError:
                continue
            runner.note(method)
            return

    def sealed_ring(self, contact: Contact, opened: OpenedRing) -> None:
        """Somebody rings.  Raises `PeerError` where the ring makes no sense."""
        around = self._around
        if not _ONION.fullmatch(opened.reply.onion) or not is_token(opened.reply.token):
            raise PeerError("nowhere to answer")
        dialog = self._dialog(contact)
        invitation = dialog.read_invite(opened.sip)
        if not may_ring(contact, self._wall()):
            # No answer at all: as from an agent that does not run.
            self._missed.rang(contact, "out-of-hours")
            return
        ring_seconds = max(1.0, min(self._ring_seconds, invitation.expires) - HEAD_START)
        runner = self._runner(Side.CALLEE, contact, dialog, ring_seconds, opened=opened)
        meeting = around.pool.meeting(invitation.reflectors)
        # In this order: a ring that could never become a call must not tell whether another call is on.
        if meeting is None:
            around.report(
                "failed", status=NOWHERE_TO_MEET, reason=NOTHING_IN_COMMON.format(contact=contact.name)
            )
            runner.decline(NOWHERE_TO_MEET)
        elif any(other.call.phase is not Phase.PARTING for other in self._active()):
            self._missed.rang(contact, "missed")
            runner.decline(486)
        else:
            runner.take_over(invitation.join_code, meeting)
            runner.voice.security.take_peer(invitation.voice)
            self._runners.append(runner)
            around.spawn("alert", self._alert(runner))

    async def _alert(self, runner: CallRunner) -> None:
        around = self._around
        name = runner.contact.name
        try:
            port = await runner.open_leg()
            if not runner.call.ended:
                line = runner.voice.security.to_offer()
                offer = phone_offer(address=around.media_host, port=port, session_id=1, line=line)
                runner.phone = self._place(name, name, offer)
        except TransportUnavailable:
            runner.phone = None
        if runner.phone is None:
            runner.call.refused_by_phone(NOBODY_THERE)
        runner.pump()

    # -- all -----------------------------------------------------------------------------------------------------

    def transport_lost(self, reason: str) -> None:
        """Tor is gone: whatever is not up yet fails."""
        for runner in list(self._runners):
            runner.transport_lost(reason)

    def hang_up_with(self, contact_id: str) -> None:
        """End every call with a contact: the owner found that somebody is in the middle."""
        for runner in list(self._active()):
            if runner.contact.id == contact_id:
                runner.hang_up()

    async def stop(self, patience: float) -> None:
        """The agent stops: hang up, in the cells where possible, and take at most `patience` seconds for it."""
        for runner in list(self._active()):
            runner.hang_up()
        deadline = self._now() + patience
        while self._active() and self._now() < deadline:  # noqa: ASYNC110 - calls end in many ways, none an event
            await asyncio.sleep(0.05)

    @property
    def any(self) -> bool:
        """Whether a call is on."""
        return bool(self._active())

    def _dialog(self, contact: Contact) -> SealedDialog:
        ours = f"sip:{self._around.identity.address}.bayonne.alt"
        return SealedDialog(
            ours, f"sip:{format_address(contact.public_key)}.bayonne.alt", self._around.entropy
        )

    def _runner(
        self,
        side: Side,
        contact: Contact,
        dialog: SealedDialog,
        ring_seconds: float,
        *,
        opened: OpenedRing | None = None,
    ) -> CallRunner:
        entropy = self._around.entropy
        call = Call(
            side,
            contact.name,
            start_delay=self._start_delay.draw(entropy),
            stagger=self._stagger.draw(entropy),
            longest_delay=LONGEST_START_DELAY,
            ring_seconds=ring_seconds,
            now=self._now(),
        )
        return CallRunner(call, contact, dialog, self._around, opened=opened, on_end=self._missed.ended)

    def _active(self) -> list[CallRunner]:
        self._runners = [runner for runner in self._runners if not runner.call.ended]
        return self._runners

    def _of(self, phone: PhoneCall) -> CallRunner | None:
        return next((runner for runner in self._active() if runner.phone is phone), None)

    def _now(self) -> float:
        return self._around.clock.monotonic()

    def _wall(self) -> float:
        return self._around.clock.wall()

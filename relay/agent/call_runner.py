"""Carries out what one `Call` decides: seals, opens lines, moves voice, talks to the phone.

The decisions are in `relay.agent.call`; here is only wiring, one object for one side of one call.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import assert_never

from relay.agent.call import Call, Phase
from relay.agent.call_line import CallLine
from relay.agent.call_voice import CallVoice
from relay.agent.commands import (
    AnswerPhone,
    HangUpPhone,
    OpenLine,
    Output,
    Play,
    ProgressPhone,
    RefusePhone,
    ReleaseLine,
    SendAnswer,
    SendInCells,
    SendNote,
    Tell,
    Tone,
    Unkey,
)
from relay.agent.contact_file import Contact
from relay.agent.delivery import Target, first_that_takes
from relay.agent.events import Value
from relay.agent.meeting import Meeting
from relay.agent.phone import PhoneCall
from relay.agent.phone_leg import SECONDS_PER_PIP, countdown
from relay.agent.sealed_dialog import SealedDialog
from relay.agent.sealed_voice import SealedVoice
from relay.agent.surroundings import Surroundings
from relay.core import BayonneError, MisuseError, PeerError, get_logger
from relay.forward_publish import CallKeys, OpenedRing, OutgoingRing
from relay.rtp import Codec
from relay.sip import Request
from relay.sip.opus_offer import PhoneVoice, answer_phone
from relay.sip.sdp import SessionDescription

_log = get_logger("call")

_SAID = {Codec.OPUS: "Opus", Codec.G722: "G.722", Codec.PCMA: "G.711 (A law)", Codec.PCMU: "G.711 (mu law)"}
"""Codecs by the names that people know."""


class CallRunner:
    """One side of one call.

    `phone` is the leg to the softphone, `leg` its voice.  A caller has `ring` and gets keys from the answer; a callee
    has `opened` and makes keys with its answer.
    """

    def __init__(
        self,
        call: Call,
        contact: Contact,
        dialog: SealedDialog,
        surroundings: Surroundings,
        *,
        opened: OpenedRing | None = None,
        on_end: "Callable[[CallRunner], None] | None" = None,
    ) -> None:
        self.call = call
        self.contact = contact
        self.dialog = dialog
        self.ring: OutgoingRing | None = None
        self.ring_task: asyncio.Task[None] | None = None
        self.offered: tuple[str, ...] = ()
        self.opened = opened
        self.tried = False
        """Whether our ring was handed to a contact point, or about to be."""
        self.heard_of = False
        """Whether the contact answered our ring, whatever it said."""
        self._on_end = on_end
        self._sent_by: Target | None = None
        self.phone: PhoneCall | None = None
        self.offer_of_phone: SessionDescription | None = None
        self.answer_for_phone: SessionDescription | None = None
        self.answer_for_peer: SealedVoice | None = None
        self.meeting: Meeting | None = None
        self._around = surroundings
        self.voice = CallVoice(
            surroundings,
            contact,
            lambda: self.call.phase is Phase.TALKING,
            self._dialog_in_cells,
            self._insecure,
        )
        self.leg = self.voice.leg
        self.line = CallLine(surroundings, call, self.voice, pump=self.pump, probe=self._probe)
        self._timer: asyncio.TimerHandle | None = None
        self._bye: Request | None = None

    # -- inputs --------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Carry out what the call wants, and wake up when it wants to be woken."""
        while outputs := self.call.outputs():
            for output in outputs:
                try:
                    self._carry_out(output)
                except BayonneError as error:
                    # What comes after it counts all the same: a line is released, a phone let go.
                    _log.error("part of a call failed", part=type(output).__name__, why=str(error))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.call.deadline()
        if deadline is not None and not self.call.ended:
            delay = max(0.0, deadline - self._now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def keyed(self, keys: CallKeys) -> None:
        """Both messages are known: from now on every cell of the line is sealed for the peer."""
        self.voice.key(keys)

    def take_over(self, join_code: bytes, meeting: Meeting | None) -> None:
        """Under which code the lines meet, and for a callee where."""
        self.line.join_code = join_code
        self.meeting = meeting
        if meeting is not None:
            self.line.reflector = meeting.own
            if meeting.via:
                self.line.other_end = self._around.pool.trunk(meeting.own, meeting.via)

    def decline(self, status: int) -> None:
        """Say no to a ring before any phone rang."""
        self._send_answer(status)

    def hang_up(self) -> None:
        """End the call from here, the phone's leg included."""
        self.call.hung_up_by_phone(self._now())
        self._carry_out(HangUpPhone())
        self.pump()

    def note(self, method: str) -> None:
        self.call.note(method, self._now())
        self.pump()

    def transport_lost(self, reason: str) -> None:
        self.call.transport_lost(reason, self._now())
        self.pump()

    def _insecure(self, reason: str) -> None:
        self.call.insecure(reason, self._now())
        self.pump()

    def _probe(self) -> None:
        if self.phone is not None:
            self.phone.probe(self._now())

    def _tick(self) -> None:
        self._timer = None
        self.call.tick(self._now())
        self.pump()

    def _now(self) -> float:
        return self._around.clock.monotonic()

    # -- outputs -------------------------------------------------------------------------------------------------

    def _carry_out(self, output: Output) -> None:
        now = self._now()
        match output:
            case Tell(event, fields):
                self._tell(event, fields)
            case ProgressPhone(status, reason):
                if self.phone is not None:
                    self.phone.progress(status, reason, now=now)
            case RefusePhone(status, reason):
                if self.phone is not None:
                    self.phone.refuse(status, reason, now=now)
            case AnswerPhone():
                if self.phone is not None and self.answer_for_phone is not None:
                    self.phone.answer(self.answer_for_phone, now=now)
            case HangUpPhone():
                if self.phone is not None:
                    self.phone.hang_up(now=now)
            case Play(tone, until):
                self._play(tone, until - now)
            case SendAnswer(status):
                self._send_answer(status)
            case SendNote(method):
                self._send_note(method)
            case SendInCells(what):
                self._send_in_cells(what)
            case OpenLine(at):
                self.line.open(at)
            case ReleaseLine(at):
                self.line.release(at)
            case Unkey():
                # The line, while it lingers, carries nothing but random bytes.  It stays crossed: the reflector is not
                # told that the call ended, nor who hung up.
                self.voice.forget()
            case _:
                assert_never(output)

    def _tell(self, event: str, fields: dict[str, Value]) -> None:
        if event == "call-ended":
            self.voice.forget()
            if self.ring_task is not None:
                self.ring_task.cancel()
            self.ring = self.opened = None
            self.leg.close()
            if self._on_end is not None:
                self._on_end(self)
            counts = {"lost_cells": self.voice.lost_cells, "cells_received": self.voice.cells_received}
            fields = {**fields, **counts}
        self._around.report(event, **fields)

    def _play(self, tone: Tone, seconds: float) -> None:
        if tone is Tone.WAITING and seconds > SECONDS_PER_PIP:
            self.leg.play_first(countdown(seconds), tone)
        else:
            self.leg.play(tone)

    # -- messages ------------------------------------------------------------------------------------------------

    def _send_answer(self, status: int) -> None:
        opened = self.opened
        if opened is None:
            return
        voice = self.answer_for_peer if status < 300 else None
        sip = self.dialog.answer(status, voice, self.meeting)
        try:
            body, keys = opened.seal_answer(self._around.identity, sip, self._around.entropy)
        except (PeerError, MisuseError):
            # The caller's own doing: a key of no use, or headers so long that no answer to them fits.
            self.call.transport_lost("the ring cannot be answered", self._now())
            return
        if status < 300:
            self.keyed(keys)
        target = (opened.reply.onion, opened.reply.token)
        self._around.spawn("answer", self._deliver([target], body))

    def _send_note(self, method: str) -> None:
        targets = self._targets()
        if not targets or (method == "CANCEL" and self.ring is None):
            # There is nothing to cancel where no ring went out.
            return
        try:
            body = self._around.messenger.seal_note(self.contact, self.dialog.request(method))
        except (PeerError, MisuseError):
            return
        self._around.spawn("note", self._deliver(targets, body))

    async def send_to_contact(self, body: bytes) -> None:
        """A ring, to the first of the contact's contact points that takes it.  Raises `TransportUnavailable`."""
        self.tried = True
        self._sent_by = await first_that_takes(self._targets(), body, self._around.messenger.send)

    def _targets(self) -> list[Target]:
        """Where to send to, the one that took the ring first."""
        whereabouts = self.contact.whereabouts
        places = whereabouts.places if whereabouts is not None else ()
        targets = [(place.onion, place.token) for place in places]
        return sorted(targets, key=lambda target: target != self._sent_by)

    async def open_leg(self) -> int:
        """Take a port for the phone's voice, unless the call is over already.  Raises `TransportUnavailable`."""
        port = await self.leg.open(self._around.media_host)
        if self.call.ended:
            self.leg.close()
        return port

    def take_answer(self, voice: SealedVoice | None) -> None:
        """The other side took our call, and said what its end is: now our phone can be answered."""
        offer, security = self.offer_of_phone, self.voice.security
        if voice is not None and offer is not None:
            security.take_peer(voice)
            line, hashes = security.to_answer()
            address, port = self._around.media_host, self.leg.port
            self.answer_for_phone = answer_phone(
                offer, address=address, port=port, session_id=1, line=line, hashes=hashes
            )

    def connect_leg(self, voice: PhoneVoice) -> None:
        """Where the phone listens and how it talks; that it has to be translated for is told once.  Raises
        `TransportUnavailable`."""
        before = self.leg.stream.format
        self.leg.connect(voice.address, voice.port, voice.format)
        if voice.format.transcoded and (before is None or before.codec is not voice.format.codec):
            self._around.report("transcoding", codec=_SAID[voice.format.codec])

    async def _deliver(self, targets: Sequence[Target], body: bytes) -> None:
        try:
            await first_that_takes(targets, body, self._around.messenger.send)
        except BayonneError as error:
            self.transport_lost(str(error))

    def _send_in_cells(self, what: str) -> None:
        if what != "200":
            self.voice.say(self.dialog.request(what))
        elif self._bye is not None:
            self.voice.say(self.dialog.confirm(self._bye))

    def _dialog_in_cells(self, data: bytes) -> None:
        try:
            what, message = self.dialog.read_request(data)
        except PeerError as error:
            _log.info("a message in the cells was dropped", why=error.reason)
            return
        if what == "BYE" and isinstance(message, Request):
            self._bye = message
            self.call.bye_in_cells(self._now())
        elif what == "200":
            self.call.bye_confirmed(self._now())
        self.pump()

"""Carries out what one `Call` decides: seals, opens lines, moves voice, talks to the phone.

The decisions are in `relay.agent.call`; here is only wiring, one object for one side of one call.
"""

import asyncio
from typing import assert_never

from relay.agent.call import Call, Phase
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
from relay.agent.contacts import Contact
from relay.agent.events import Value
from relay.agent.keyed_voice import KeyedVoice
from relay.agent.line import BLUR, Line
from relay.agent.phone import PhoneCall
from relay.agent.phone_leg import SECONDS_PER_PIP, PhoneLeg, countdown
from relay.agent.sealed_dialog import SealedDialog
from relay.agent.surroundings import Surroundings
from relay.chaff import Pace
from relay.core import BayonneError, MisuseError, PeerError, get_logger
from relay.forward_publish import CallKeys, OpenedRing, OutgoingRing
from relay.media_reflector import BodyReceived, LineClient, LineEvent, LineLost, LineOpened
from relay.rtp import Kind
from relay.rtp.cell import TICK
from relay.sip import Request
from relay.sip.sdp import SessionDescription

PHONE_SILENCE_SECONDS = 30.0
"""A phone that sends no voice for so long is asked whether it is still there."""

GOODBYE_SECONDS = 0.5

_log = get_logger("call")


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
    ) -> None:
        self.call = call
        self.contact = contact
        self.dialog = dialog
        self.ring: OutgoingRing | None = None
        self.ring_task: asyncio.Task[None] | None = None
        self.offered: tuple[str, ...] = ()
        self.opened = opened
        self.phone: PhoneCall | None = None
        self.answer_for_phone: SessionDescription | None = None
        self.answer_for_peer: SessionDescription | None = None
        self.reflector = ""
        self._around = surroundings
        self._join_code = b""
        self.leg = PhoneLeg(
            surroundings.entropy, surroundings.clock, surroundings.tones, self._voice_from_phone
        )
        self._voice: KeyedVoice | None = None
        self._line: Line | None = None
        self._line_task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._bye: Request | None = None
        self._heard: set[str] = set()
        self._phone_heard_at = self._now()
        self._lost_cells = 0
        self._cells_received = 0

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
        self._voice = KeyedVoice(keys)

    def take_over(self, join_code: bytes, reflector: str) -> None:
        """Where and under which code the caller proposes to meet."""
        self._join_code = join_code
        self.reflector = reflector

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
                self._line_task = self._around.spawn("line", self._hold_line(at))
            case ReleaseLine(at):
                self._release_line(at)
            case Unkey():
                self._unkey()
            case _:
                assert_never(output)

    def _tell(self, event: str, fields: dict[str, Value]) -> None:
        if event == "call-ended":
            self._unkey()
            if self.ring_task is not None:
                self.ring_task.cancel()
            self.ring = self.opened = None
            self.leg.close()
            fields = {**fields, "lost_cells": self._lost_cells, "cells_received": self._cells_received}
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
        session = self.answer_for_peer if status < 300 else None
        sip = self.dialog.answer(status, session, self.reflector)
        try:
            body, keys = opened.seal_answer(self._around.identity, sip, self._around.entropy)
        except (PeerError, MisuseError):
            # The caller's own doing: a key of no use, or headers so long that no answer to them fits.
            self.call.transport_lost("the ring cannot be answered", self._now())
            return
        if status < 300:
            self.keyed(keys)
        self._around.spawn("answer", self._deliver(opened.reply.onion, opened.reply.token, body))

    def _send_note(self, method: str) -> None:
        whereabouts = self.contact.whereabouts
        if whereabouts is None or (method == "CANCEL" and self.ring is None):
            # There is nothing to cancel where no ring went out.
            return
        try:
            body = self._around.messenger.seal_note(self.contact, self.dialog.request(method))
        except (PeerError, MisuseError):
            return
        self._around.spawn("note", self._deliver(whereabouts.onion, whereabouts.token, body))

    async def open_leg(self) -> int:
        """Take a port for the phone's voice, unless the call is over already.  Raises `TransportUnavailable`."""
        port = await self.leg.open(self._around.media_host)
        if self.call.ended:
            self.leg.close()
        return port

    async def _deliver(self, onion: str, token: str, body: bytes) -> None:
        try:
            await self._around.messenger.send(onion, token, body)
        except BayonneError as error:
            self.transport_lost(str(error))

    def _send_in_cells(self, what: str) -> None:
        if self._voice is None:
            return
        if what == "200":
            if self._bye is not None:
                self._voice.packer.offer_control(self.dialog.confirm(self._bye))
        else:
            self._voice.packer.offer_control(self.dialog.request(what))

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

    # -- the line ------------------------------------------------------------------------------------------------

    async def _hold_line(self, at: float) -> None:
        around = self._around
        await asyncio.sleep(max(0.0, at - self._now()))
        around.report("line-opening")
        try:
            descriptor, ticket = around.pool.take(self.reflector)
            client = LineClient(descriptor, ticket, around.entropy, join_code=self._join_code)
            self._line = Line(
                client,
                (descriptor.udp_host, descriptor.udp_port),
                local_address=around.line_address,
                pace=Pace.at_random(TICK, around.entropy, blur=BLUR),
                entropy=around.entropy,
                clock=around.clock,
                source=self._next_body,
                on_event=self._line_event,
            )
            await _run_to_the_end(self._line)
        except BayonneError as error:
            self.call.line_lost(str(error), self._now())
            self.pump()
        finally:
            self._line = None
            around.report("line-closed")

    def _release_line(self, at: float) -> None:
        async def release() -> None:
            await asyncio.sleep(max(0.0, at - self._now()))
            if self._line is not None:
                self._line.release()

        if self._line is not None:
            self._around.spawn("release", release())
        elif self._line_task is not None:
            # Not open yet: then it never opens, and shows nobody anything.
            self._line_task.cancel()

    def _line_event(self, event: LineEvent) -> None:
        match event:
            case LineOpened():
                self.call.line_open()
            case LineLost(reason):
                if self._line is not None and not self._line.client.opened:
                    self._around.pool.distrust(self.reflector)
                self.call.line_lost(reason, self._now())
            case BodyReceived(body):
                self._body(body)
                return
            case _:
                return
        self.pump()

    def _next_body(self) -> bytes | None:
        voice = self._voice
        return None if voice is None else voice.next_body()

    def _body(self, body: bytes) -> None:
        voice = self._voice
        now = self._now()
        datagrams = None if voice is None else voice.open(body, now)
        if voice is None or datagrams is None:
            return
        if voice.received == 1:
            self.call.crossed(now)
            self.pump()
        else:
            self.call.heard(now)
            self._watch_phone(now)
        for datagram in datagrams:
            if datagram.kind is Kind.VOICE:
                self._first("received")
                self.leg.hear(datagram.data)
            elif datagram.kind is Kind.CONTROL:
                self._dialog_in_cells(datagram.data)

    def _voice_from_phone(self, packet: bytes) -> None:
        self._phone_heard_at = self._now()
        # Not before the lines met: what would wait then would be heard late for the whole call.
        if self._voice is not None and self.call.phase is Phase.TALKING:
            self._first("sent")
            self._voice.packer.offer_voice(packet)

    def _watch_phone(self, now: float) -> None:
        """A phone that says nothing for long is asked whether it is still there: over UDP it may just be gone."""
        if now - self._phone_heard_at > PHONE_SILENCE_SECONDS and self.phone is not None:
            self._phone_heard_at = now
            self.phone.probe(now)

    def _first(self, direction: str) -> None:
        if direction not in self._heard:
            self._heard.add(direction)
            self._around.report("voice", direction=direction)

    def _unkey(self) -> None:
        """Forget the keys; the line, while it lingers, carries nothing but random bytes.

        It stays crossed: the reflector is not told that the call ended, nor who hung up.
        """
        if self._voice is not None:
            self._lost_cells, self._cells_received = self._voice.lost, self._voice.received
            self._voice = None


async def _run_to_the_end(line: Line) -> None:
    """Run a line; one that is cancelled, because the agent stops, still says goodbye to the reflector."""
    task = asyncio.ensure_future(line.run())
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        line.release()
        await asyncio.wait((task,), timeout=GOODBYE_SECONDS)
        task.cancel()
        raise

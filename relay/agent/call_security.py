"""How the voice of one call is secured: who the ends are, what each is told of the other, and what its user is told.

One rule: a phone that announces ZRTP and takes Opus is the end itself; for any other its agent is.  The two ends, of
whichever kind, speak ZRTP with each other through the cells.
"""

from collections.abc import Callable
from typing import assert_never

from relay.agent.agent_end import AgentEnd
from relay.agent.contact_file import Contact
from relay.agent.onward import Onward
from relay.agent.phone_end import PhoneEnd
from relay.agent.phone_guard import OwnPhone
from relay.agent.phone_leg import PhoneLeg
from relay.agent.sealed_voice import SealedVoice
from relay.agent.surroundings import Surroundings
from relay.agent.voice_security import Agreement, Alarmed, Cells, End, Secured
from relay.agent.zrtp_end import VOICE_SETTINGS, Told, ZrtpEnd
from relay.core import MisuseError
from relay.forward_publish import CallKeys
from relay.rtp import Codec, Datagram, Kind
from relay.sip.line_voice import NEUTRAL, LineVoice
from relay.sip.opus_offer import PhoneVoice
from relay.zrtp import Alarm, AlarmKind, Exchange, Expectation, Failed
from relay.zrtp import Secured as ZrtpSecured

ENDS_THE_CALL = (
    AlarmKind.TAMPERED,
    AlarmKind.DOWNGRADE,
    AlarmKind.AUXSECRET_MISMATCH,
    AlarmKind.HELLO_HASH_MISMATCH,
)
"""Alarms after which nothing more is said: somebody is in the middle, or would be next.  In cells nothing is changed by
accident; the auxsecret of two agents is their call's own, so that no lost cache excuses another one."""
NOT_SECURED = "the voice could not be secured"


class CallSecurity:
    """`offer` puts a datagram into the cells; `broken` ends the call; by `cells` signatures pass."""

    def __init__(
        self,
        around: Surroundings,
        contact: Contact,
        leg: PhoneLeg,
        cells: Cells,
        offer: Callable[[Datagram], None],
        broken: Callable[[str], None],
    ) -> None:
        self.end: AgentEnd | PhoneEnd | None = None
        """Ours, once the phone said what it can."""
        self.peer: SealedVoice | None = None
        """The other one, as its sealed description says."""
        self._around = around
        self._contact = contact
        self._leg = leg
        self._cells = cells
        self._offer = offer
        self._broken = broken
        self._announced: SealedVoice | None = None
        self._auxsecret = self._own_zid = b""
        self._told = self._over = False
        self._own_phone = OwnPhone(
            around.zids.own_phone(),
            around.zids.cache,
            around.clock,
            around.entropy,
            leg.pass_on,
            self._hear_own_phone,
        )

    # -- session descriptions --------------------------------------------------------------------------------------

    def take_phone(self, voice: PhoneVoice) -> SealedVoice:
        """What our phone offered or answered settles our end; returns what the other side is told of it."""
        if self._announced is None:
            line = self.peer.line if self.peer is not None else NEUTRAL
            if voice.zrtp_hashes and voice.line is not None and voice.format.codec is Codec.OPUS:
                self._announced = self._end_at_phone(voice.line, voice.zrtp_hashes)
            else:
                self._announced = self._end_here(line, voice.zrtp_hashes)
        return self._announced

    def to_offer(self) -> LineVoice:
        """The types to offer our phone that is rung, and no hash: phones read one, and whose Hello it is going to hear,
        the contact's end's or ours, its answer settles.  `PhoneEnd` checks in its place."""
        return self._peer().line

    def to_answer(self) -> tuple[LineVoice | None, tuple[str, ...]]:
        """The types and hashes to answer our phone; no types where those that it offered do."""
        peer = self._peer()
        if isinstance(self.end, PhoneEnd):
            return peer.line, peer.zrtp_hashes
        return None, (self._own_phone.hello_hash,) if self._own_phone.announced else ()

    def _peer(self) -> SealedVoice:
        if self.peer is None:
            raise MisuseError("the other side is not known")
        return self.peer

    def take_peer(self, voice: SealedVoice) -> None:
        """What the other side told, sealed."""
        self.peer = voice
        if self.end is not None:
            self.end.peer = voice.line

    def _end_at_phone(self, line: LineVoice, hashes: tuple[str, ...]) -> SealedVoice:
        end = PhoneEnd(
            self._leg, self._offer, self._around.clock, agreed=self._phones_agreed, failed=self._alarm
        )
        self._leg.guard = self.end = end
        if self.peer is not None:
            end.peer = self.peer.line
        return SealedVoice(End.PHONE, line, hashes)

    def _end_here(self, line: LineVoice, phones: tuple[str, ...]) -> SealedVoice:
        around, zids = self._around, self._around.zids
        numbers = Onward(around.entropy)
        # Kept: `--undo` may have another one drawn while this call goes on.
        self._own_zid = zids.own(self._contact.id)
        exchange = Exchange(VOICE_SETTINGS, numbers.ssrc, self._own_zid, zids.cache, around.entropy)
        end = AgentEnd(
            ZrtpEnd(exchange, around.clock, self._send_zrtp, self._hear), numbers, self._leg, self._offer
        )
        end.own = line
        if self.peer is not None:
            end.peer = self.peer.line
        self.end = end
        self._own_phone.announced = phones
        self._leg.guard = self._own_phone
        return SealedVoice(End.AGENT, line, (exchange.hello_hash,))

    # -- the call --------------------------------------------------------------------------------------------------

    def key(self, keys: CallKeys) -> None:
        """The cells have keys, which the ZRTP of two agents is tied to."""
        self._auxsecret = keys.auxsecret()

    def begin(self) -> None:
        """The lines met."""
        peer, end = self.peer, self.end
        if peer is None or end is None:
            return
        if isinstance(end, PhoneEnd):
            end.begin(peer.zrtp_hashes)
            return
        end.zrtp.begin(
            Expectation(
                peer.zrtp_hashes,
                protected=True,
                zid=self._around.zids.peer(self._contact.id, peer.end),
                # A phone at the other side knows nothing of it.
                auxsecret=self._auxsecret if peer.end is End.AGENT else b"",
            )
        )

    def close(self) -> None:
        """The call is over: forget all keys.  May be called twice."""
        self._auxsecret = b""
        self._own_phone.close()
        if self.end is not None:
            self.end.close()
        if self._told and not self._over:
            self._around.listener.ended(self)
        self._over = True

    def verify_sas(self) -> None:
        """The user compared it: see `voice_security.Comparing`."""
        if isinstance(self.end, AgentEnd):
            self.end.zrtp.verify_sas()

    def reject_sas(self) -> None:
        """It was another one."""
        if isinstance(self.end, AgentEnd):
            self.end.zrtp.reject_sas()

    # -- what is told ----------------------------------------------------------------------------------------------

    def _send_zrtp(self, datagram: bytes) -> None:
        self._offer(Datagram(Kind.ZRTP, datagram))

    def _hear(self, told: Told) -> None:
        match told:
            case ZrtpSecured():
                self._secured(
                    Agreement(
                        told.sas,
                        self._own_zid,
                        told.peer_zid,
                        told.continuity,
                        told.verified,
                        told.peer_verified,
                        told.signalled,
                        told.authenticated,
                        told.exported_key,
                    )
                    if told.sas is not None
                    else None
                )
            case Alarm(kind):
                self._alarm(kind)
            case Failed():
                self._break_off()
            case _:
                assert_never(told)

    def _break_off(self) -> None:
        """From now on nothing is heard; what the other end has to know is on its way."""
        if self.end is not None:
            self.end.close()
        self._broken(NOT_SECURED)

    def _phones_agreed(self) -> None:
        self._secured(None)

    def _secured(self, agreement: Agreement | None) -> None:
        ends = self._ends()
        if ends is not None:
            self._told = True
            told = Secured(self._contact.id, self._contact.name, *ends, agreement)
            self._report(told)
            self._around.listener.secured(told, self)
            self._around.listener.may_sign(told, self, self._cells)

    def _report(self, told: Secured) -> None:
        """All of it, for programs; both forms of the SAS, since which one the other end shows is its own choice."""
        agreed = told.agreement
        self._around.report(
            "secured",
            contact=told.contact,
            mode=told.mode.value,
            own_end=told.own_end.value,
            peer_end=told.peer_end.value,
            sas=None if agreed is None else agreed.sas.characters,
            words=None if agreed is None else agreed.sas.words,
            continuity=None if agreed is None else agreed.continuity.value,
            verified=None if agreed is None else agreed.verified,
            peer_verified=None if agreed is None else agreed.peer_verified,
            signalled=None if agreed is None else agreed.signalled,
        )

    def _alarm(self, kind: AlarmKind) -> None:
        ends = self._ends()
        if ends is None:
            return
        fatal = kind in ENDS_THE_CALL
        self._told = True
        told = Alarmed(self._contact.id, self._contact.name, *ends, kind, fatal)
        self._around.listener.alarmed(told, self)
        if fatal:
            self._break_off()

    def _ends(self) -> tuple[End, End] | None:
        return None if self.end is None or self.peer is None else (self.end.end, self.peer.end)

    def _hear_own_phone(self, told: Told) -> None:
        """On loopback nothing ends a call; it is told, so that its words are not taken for the contact's."""
        match told:
            case ZrtpSecured():
                words = "" if told.sas is None else told.sas.text
                self._around.report("phone-secured", sas=words)
            case Alarm(kind):
                self._around.report("phone-alarm", kind=kind.value)
            case Failed():
                self._around.report("phone-plain")
            case _:
                assert_never(told)

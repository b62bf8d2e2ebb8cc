"""What a call's keys say of who is at the other end: from what a call tells to what is told, kept, and ended.

Sans-IO, one object for one call.  RFC 6189 section 4.3.2 lets a call go on after a mismatch, so that two people can
compare words; where it does not go on, `relay.agent.voice_security.Alarmed` says so.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from relay.agent.commands import Tell
from relay.agent.events import Value
from relay.agent.openpgp_status import Signature
from relay.agent.voice_security import Alarmed, End, Secured
from relay.agent.voice_trust import OF_A_KEY, OF_ONE_CALL, SAID, Doubt, VoiceTrust
from relay.core import MisuseError
from relay.zrtp import AlarmKind, Sas


@dataclass(frozen=True, slots=True)
class Keep:
    """Change what is kept with the contact."""

    change: Callable[[VoiceTrust], VoiceTrust]


@dataclass(frozen=True, slots=True)
class Expect:
    """From now on this ZID is expected at the contact's end."""

    peer_zid: bytes


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call."""


Outcome: TypeAlias = Tell | Keep | Expect | HangUp


class CallVerification:
    """One call's; `trust` is what was kept before it.  `wall` is now: all that is kept of it is the day."""

    def __init__(self, contact: str, own_end: End, peer_end: End, trust: VoiceTrust, wall: float) -> None:
        self.contact = contact
        self.own_end = own_end
        self.peer_end = peer_end
        self.secured: Secured | None = None
        self._trust = trust
        self._wall = wall
        self._raised: set[Doubt | AlarmKind] = set()

    @property
    def sas(self) -> Sas | None:
        """The words of this call; None where the agent has none, or none yet."""
        agreement = self.secured.agreement if self.secured is not None else None
        return agreement.sas if agreement is not None else None

    # -- what the call finds -------------------------------------------------------------------------------------

    def begun(self) -> list[Outcome]:
        """What was open before; told in every call until the owner decides."""
        if not self._trust.doubts:
            return []
        return [Tell("voice-alarm-open", {"contact": self.contact, "why": self._trust.alarm})]

    def alarmed(self, told: Alarmed) -> list[Outcome]:
        """What an exchange found; once in a call, however often it is found."""
        kind = told.kind
        if kind not in OF_ONE_CALL:
            return self._doubt(Doubt(kind.value), ends_call=told.ends_call)
        if kind in self._raised:
            return []
        self._raised.add(kind)
        return [self._alarm(kind.value, OF_ONE_CALL[kind], ends_call=told.ends_call)]

    def found(self, told: Secured, *, elsewhere: bool = False) -> list[Outcome]:
        """There are keys; alarms came before.  `elsewhere`: the contact was met at the other kind of end, and never at
        this one, so that nothing leads from those calls to this."""
        self.secured = told
        before = self._trust.verified_between(self.own_end, self.peer_end)
        agreement = told.agreement
        outcomes: list[Outcome] = []
        if before is None and (elsewhere or self._trust.verified):
            outcomes += self._doubt(Doubt.OTHER_ENDS)
        if agreement is None:
            compared = before.date if before is not None else ""
            # Our phone shows what to compare.  Who is at its other end is the contact's: an agent there can listen.
            event = "compare-on-phones" if self.peer_end is End.PHONE else "compare-phone-with-agent"
            return [*outcomes, Tell(event, {"contact": self.contact, "compared": compared})]
        doubtful = self._raised & {Doubt.CACHE_MISMATCH, Doubt.OTHER_ZID}
        if before is not None and not agreement.verified and not doubtful:
            outcomes += self._doubt(Doubt.UNPROVEN)
        if not self._raised & set(Doubt):
            outcomes.append(Expect(agreement.peer_zid))
        if before is not None and agreement.verified and not self._raised & set(Doubt):
            outcomes.append(Tell("voice-verified", {"contact": self.contact, "compared": before.date}))
        else:
            sas = agreement.sas
            fields: dict[str, Value] = {"words": sas.words, "characters": sas.characters}
            outcomes.append(Tell("compare", {"contact": self.contact, **fields}))
        return outcomes

    # -- what the owner says -------------------------------------------------------------------------------------

    def compared(self, *, same: bool) -> list[Outcome]:
        """The two read their words to each other, or, where the phones have them, looked at their phones."""
        own_end, peer_end, wall = self.own_end, self.peer_end, self._wall
        if self.secured is None:
            raise MisuseError("there are no words in this call yet; wait a moment")
        if not same:
            self._raised.add(Doubt.WORDS_DIFFER)
            return [
                Keep(lambda trust: trust.differed(own_end, peer_end, wall)),
                self._alarm(Doubt.WORDS_DIFFER.value, SAID[Doubt.WORDS_DIFFER], ends_call=True),
                HangUp(),
            ]
        self._raised.clear()
        agreement = self.secured.agreement
        return [
            Keep(lambda trust: trust.compared(own_end, peer_end, wall)),
            *([Expect(agreement.peer_zid)] if agreement is not None else []),
            Tell("words-same", {"contact": self.contact}),
        ]

    def signed(self, signature: Signature) -> list[Outcome]:
        """What GnuPG says of the other side's signature over this call's keys."""
        match signature:
            case Signature.GOOD:
                key = self._trust.pgp
                first = [] if self._trust.signed else [Keep(lambda trust: trust.has_signed(key))]
                return [*first, Tell("openpgp-good", {"contact": self.contact})]
            case Signature.BAD:
                return self._doubt(Doubt.PGP_BAD)
            case Signature.OTHER_KEY:
                return self._doubt(Doubt.PGP_OTHER_KEY)
            case Signature.UNCHECKED:
                return self._unsigned("openpgp-unchecked")

    def silent(self) -> list[Outcome]:
        """No signature came, in all the time that there was."""
        return self._unsigned("openpgp-silent")

    def _unsigned(self, event: str) -> list[Outcome]:
        """Whoever is in the middle can take a signature away: so one that used to come is missed."""
        if self._trust.signed:
            return self._doubt(Doubt.PGP_MISSING)
        return [Tell(event, {"contact": self.contact})]

    # -- alarms --------------------------------------------------------------------------------------------------

    def _doubt(self, doubt: Doubt, *, ends_call: bool = False) -> list[Outcome]:
        """Once in a call: whoever sends a thousand false messages is told of once."""
        if doubt in self._raised:
            return []
        self._raised.add(doubt)
        key = self._trust.pgp

        def doubted(trust: VoiceTrust) -> VoiceTrust:
            # Another key may have been named since the call began: of that one nothing is known.
            settled = doubt in OF_A_KEY and trust.pgp != key
            return trust if settled else trust.doubted(doubt, self._wall)

        return [
            Keep(doubted),
            self._alarm(doubt.value, SAID[doubt], ends_call=ends_call),
        ]

    def _alarm(self, kind: str, why: str, *, ends_call: bool) -> Tell:
        fields: dict[str, Value] = {"kind": kind, "why": why, "ends_call": ends_call}
        return Tell("voice-alarm", {"contact": self.contact, **fields})


def kept(trust: VoiceTrust, outcomes: Iterable[Outcome]) -> VoiceTrust:
    """`trust` as these outcomes leave it."""
    for outcome in outcomes:
        if isinstance(outcome, Keep):
            trust = outcome.change(trust)
    return trust

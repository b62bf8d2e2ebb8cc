"""Verification in a running agent: hears what calls tell, keeps it with the contacts, and takes what the owner says.

Whom calls tell is `relay.agent.voice_security.Listener`; what it means is `relay.agent.verification`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from relay.agent.behind import AtOnce, Later
from relay.agent.contact_file import Contact
from relay.agent.contacts import ContactBook
from relay.agent.control import Stage
from relay.agent.events import Reporter
from relay.agent.kept_trust import KeptTrust
from relay.agent.openpgp_desk import Signatures, Signer
from relay.agent.openpgp_status import Signature
from relay.agent.verification import CallVerification, Expect, HangUp, Keep, Outcome
from relay.agent.voice_security import Alarmed, Cells, Comparing, End, Mode, Secured
from relay.agent.voice_trust import VoiceTrust
from relay.agent.zid_cache import ZidCache
from relay.core import Clock, MisuseError

WORDS = "words"
"""The command at the agent's door: what there is to compare in the call with contact `name`."""
COMPARED = "compared"
"""The command that says what came of it: `same` is "yes" or "no", `characters` are those that were shown."""


@dataclass(frozen=True, slots=True)
class _LiveCall:
    contact_id: str
    judge: CallVerification


class VerificationDesk:
    """A `Listener`.  `hang_up` ends the calls with a contact; `signer` signs once the owner named a key; `later` writes
    down what calls find."""

    def __init__(
        self,
        book: ContactBook,
        zids: ZidCache,
        *,
        clock: Clock,
        report: Reporter,
        hang_up: Callable[[str], None],
        signer: Signer | None = None,
        later: Later | None = None,
    ) -> None:
        self._book = book
        self._trust = KeptTrust(book, later or AtOnce())
        self._zids = zids
        self._clock = clock
        self._report = report
        self._hang_up = hang_up
        self._live: dict[Comparing, _LiveCall] = {}
        self._signatures = (
            Signatures(signer, clock=clock, report=report, found=self._signed, silent=self._silent)
            if signer is not None
            else None
        )

    # -- what calls tell -----------------------------------------------------------------------------------------

    def alarmed(self, told: Alarmed, call: Comparing) -> None:
        judge = self._judge(told, call)
        self._carry_out(told.contact_id, judge, judge.alarmed(told))

    def secured(self, told: Secured, call: Comparing) -> None:
        judge = self._judge(told, call)
        other = End.PHONE if told.peer_end is End.AGENT else End.AGENT
        here, there = (self._zids.peer(told.contact_id, end) for end in (told.peer_end, other))
        self._carry_out(told.contact_id, judge, judge.found(told, elsewhere=bool(there) and not here))

    def ended(self, call: Comparing) -> None:
        if self._signatures is not None:
            self._signatures.ended(call)
        self._live.pop(call, None)

    # -- OpenPGP -------------------------------------------------------------------------------------------------

    def may_sign(self, told: Secured, call: Comparing, cells: Cells) -> None:
        """After `secured`.  Nothing is signed before the owner named a key of their own and the contact's, nor where
        one of the agents is no end and so has no key of the call."""
        contact, agreed = self._book.get(told.contact_id), told.agreement
        if self._signatures is None or contact is None or not contact.trust.pgp or not self._book.openpgp:
            return
        if told.mode is not Mode.AGENTS or agreed is None:
            # Said, because whoever is in the middle may have chosen this.
            self._report("openpgp-off", contact=contact.name, why="one of the two ends is a phone")
        else:
            self._signatures.begin(call, contact.name, agreed, contact.trust.pgp, cells)

    def _signed(self, call: Comparing, signature: Signature) -> None:
        if (live := self._live.get(call)) is not None:
            self._carry_out(live.contact_id, live.judge, live.judge.signed(signature))

    def _silent(self, call: Comparing) -> None:
        if (live := self._live.get(call)) is not None:
            self._carry_out(live.contact_id, live.judge, live.judge.silent())

    # -- what comes of it ----------------------------------------------------------------------------------------

    def _judge(self, told: Secured | Alarmed, call: Comparing) -> CallVerification:
        """The call's, from the first that is told of it."""
        if (live := self._live.get(call)) is not None:
            return live.judge
        contact = self._book.get(told.contact_id)
        trust = self._trust.of(contact) if contact is not None else VoiceTrust()
        judge = CallVerification(told.contact, told.own_end, told.peer_end, trust, self._clock.wall())
        self._live[call] = _LiveCall(told.contact_id, judge)
        self._carry_out(told.contact_id, judge, judge.begun())
        return judge

    def _carry_out(self, contact_id: str, judge: CallVerification, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            match outcome:
                case Keep(change):
                    self._trust.keep(contact_id, change)
                case Expect(peer_zid):
                    self._zids.meet(contact_id, judge.peer_end, peer_zid)
                case HangUp():
                    self._hang_up(contact_id)
                case _:
                    self._report(outcome.event, **outcome.fields)

    # -- what the owner says: each a `relay.agent.control.Handler` -----------------------------------------------

    async def words(self, arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        """What there is to compare."""
        contact, _, live = self._call_with(arguments.get("name", ""))
        judge, sas, trust = live.judge, live.judge.sas, self._trust.of(contact)
        before = trust.verified_between(judge.own_end, judge.peer_end)
        assert judge.secured is not None, "a live call has keys"
        return {
            "name": contact.name,
            "mode": judge.secured.mode,
            "end": judge.own_end,
            "words": sas.words if sas is not None else "",
            "characters": sas.characters if sas is not None else "",
            "compared": before.date if before is not None else "",
            "alarm": trust.alarm,
        }

    async def compared(self, arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        """The owner compared what `words` showed."""
        contact, call, live = self._call_with(arguments.get("name", ""))
        sas, same = live.judge.sas, arguments.get("same") == "yes"
        if arguments.get("characters", "") != (sas.characters if sas is not None else ""):
            raise MisuseError("that was another call: this one has other words; compare those")
        if same and not self._leads_on(live):
            raise MisuseError(
                f"you began anew with {contact.name} in the middle of this call, so that nothing would lead from here "
                "to the next one; hang up, call again, and compare then"
            )
        if sas is not None:
            (call.verify_sas if same else call.reject_sas)()
        self._carry_out(contact.id, live.judge, live.judge.compared(same=same))
        await self._trust.written()
        return {"name": contact.name, "verified": "yes" if same else "no"}

    def _leads_on(self, live: _LiveCall) -> bool:
        """Whether what this call retains is there in the next one."""
        secured = live.judge.secured
        agreed = secured.agreement if secured is not None else None
        return agreed is None or self._zids.is_own(live.contact_id, agreed.own_zid)

    def _call_with(self, name: str) -> tuple[Contact, Comparing, _LiveCall]:
        self._book.refresh()
        contact = self._book.named(name)
        for call, live in self._live.items():
            if live.contact_id == contact.id and live.judge.secured is not None:
                return contact, call, live
        raise MisuseError(
            f"no call with {contact.name} has keys just now; call first, then compare while you talk"
        )

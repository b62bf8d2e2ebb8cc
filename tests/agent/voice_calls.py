"""Calls as the verification desk sees them: what they tell, and what it does to them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from relay.agent.behind import Later
from relay.agent.contact_file import Contact, Introducing
from relay.agent.contacts import ContactBook
from relay.agent.events import Value
from relay.agent.kept import PlainFiles
from relay.agent.openpgp_desk import Signer
from relay.agent.verification_desk import VerificationDesk
from relay.agent.voice_security import Agreement, Alarmed, End, Secured
from relay.agent.zid_cache import ZidCache
from relay.core import ManualClock, SystemEntropy
from relay.identity import Identity
from relay.zrtp import AlarmKind, Continuity, Sas, SasType

BOBS_ZID = b"bob's own id"
AGREED = Agreement(
    Sas(SasType.B256, b"\x00\x01\x02\x03"),
    b"alice's zid.",
    BOBS_ZID,
    Continuity.FIRST,
    verified=False,
    peer_verified=False,
    signalled=True,
    authenticated=True,
    exported_key=b"k" * 32,
)
VERIFIED = replace(AGREED, continuity=Continuity.CONTINUED, verified=True)


class FakeCall:
    """A `Comparing`."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def verify_sas(self) -> None:
        self.said.append("same")

    def reject_sas(self) -> None:
        self.said.append("different")


class FakeCells:
    """A call's `Cells`; `say` gets what is said in them."""

    def __init__(self, say: Callable[[bytes], object]) -> None:
        self._say = say
        self.on_signature: Callable[[bytes], None] = lambda data: None

    def say_signature(self, message: bytes) -> None:
        self._say(message)


class DeskBench:
    """A desk with bob among its contacts; `told` is what the owner was."""

    def __init__(
        self,
        directory: Path,
        signer: Signer | None = None,
        *,
        files: PlainFiles | None = None,
        later: Later | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.state = files or PlainFiles(directory)
        self.book = ContactBook(self.state)
        self.book.refresh()
        if self.book.find("bob") is None:
            key = Identity.generate(SystemEntropy()).public_key
            self.book.add("bob", key, Introducing(bytes(32), 0), (), SystemEntropy())
        if signer is not None:
            self.book.set_openpgp("0" * 40)
        self.told: list[tuple[str, dict[str, Value]]] = []
        self.hung_up: list[str] = []
        self.zids = ZidCache(self.state, self.clock, SystemEntropy(), later)
        self.desk = VerificationDesk(
            self.book,
            self.zids,
            clock=self.clock,
            report=self.report,
            hang_up=self.hung_up.append,
            signer=signer,
            later=later,
        )

    def report(self, event: str, /, **fields: Value) -> None:
        self.told.append((event, fields))

    @property
    def bob(self) -> Contact:
        return self.book.named("bob")

    def events(self) -> list[str]:
        """What was told since the last question."""
        told, self.told[:] = [event for event, _ in self.told], []
        return told

    def secured(
        self,
        agreement: Agreement | None = AGREED,
        own: End = End.AGENT,
        peer: End = End.AGENT,
        call: FakeCall | None = None,
    ) -> tuple[Secured, FakeCall]:
        """A call has keys, agreed on under the ZID that is ours for bob now."""
        if agreement is not None:
            agreement = replace(agreement, own_zid=self.zids.own(self.bob.id))
        told, call = Secured(self.bob.id, "bob", own, peer, agreement), call or FakeCall()
        self.desk.secured(told, call)
        return told, call

    def alarm(self, call: FakeCall, kind: AlarmKind, *, ends_call: bool = False) -> None:
        self.desk.alarmed(Alarmed(self.bob.id, "bob", End.AGENT, End.AGENT, kind, ends_call), call)

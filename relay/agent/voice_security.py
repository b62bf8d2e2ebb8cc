"""What a call tells of how its voice is secured, and what it takes for that: where calls and `verification` meet.

At each side one ZRTP end: the phone, where it speaks ZRTP and Opus, and then its agent cannot listen; else the agent.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from relay.zrtp import AlarmKind, Continuity, Sas, ZidCache


class End(StrEnum):
    """Who holds the keys at one side."""

    PHONE = "phone"
    AGENT = "agent"


class Mode(StrEnum):
    """Between whom the voice is encrypted."""

    PHONES = "phones"
    PHONE_AGENT = "phone-agent"
    AGENTS = "agents"

    @classmethod
    def of(cls, one: End, other: End) -> "Mode":
        if one is other:
            return cls.PHONES if one is End.PHONE else cls.AGENTS
        return cls.PHONE_AGENT


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two ZRTP ends agreed on, as an agent that is one of them knows it."""

    sas: Sas
    own_zid: bytes
    peer_zid: bytes
    continuity: Continuity
    verified: bool
    """Our user compared the SAS in this call or one before, and retained secrets lead from there to here."""
    peer_verified: bool
    """The other end says the same of its user."""
    signalled: bool
    """The other end's Hello is the one that its sealed session description announced."""
    authenticated: bool
    exported_key: bytes = field(repr=False, default=b"")
    """Of this call, the same at both ends, for other uses than voice (RFC 6189 section 4.5.2)."""


@dataclass(frozen=True, slots=True)
class Secured:
    """The voice of a call with a contact is encrypted from `own_end` to `peer_end`."""

    contact_id: str
    contact: str
    """Its name."""
    own_end: End
    peer_end: End
    agreement: Agreement | None
    """None where our end is the phone: then it shows the SAS, and the agent never learns one."""

    @property
    def mode(self) -> Mode:
        return Mode.of(self.own_end, self.peer_end)


@dataclass(frozen=True, slots=True)
class Alarmed:
    """What a user must be told, loudly, of a call with a contact; `ends_call` where it does not go on."""

    contact_id: str
    contact: str
    own_end: End
    peer_end: End
    kind: AlarmKind
    ends_call: bool


class Comparing(Protocol):
    """A call that is on, and what its user says of the SAS.  Does nothing once the call is over."""

    def verify_sas(self) -> None:
        """Both users read the same."""
        ...

    def reject_sas(self) -> None:
        """They did not: what this call retained is forgotten."""
        ...


class Cells(Protocol):
    """A call's: `relay.agent.call_voice.CallVoice`."""

    on_signature: Callable[[bytes], None]
    """Takes what the other agent says of signatures."""

    def say_signature(self, message: bytes) -> None:
        """Let the other agent have this, beside the voice; it may get lost."""
        ...


class Listener(Protocol):
    """Whom a call tells."""

    def secured(self, told: Secured, call: Comparing) -> None: ...

    def may_sign(self, told: Secured, call: Comparing, cells: Cells) -> None:
        """After `secured`."""
        ...

    def alarmed(self, told: Alarmed, call: Comparing) -> None: ...

    def ended(self, call: Comparing) -> None:
        """A call that was told of, by either, is over: nothing of it is to be compared any more."""
        ...


class Zids(Protocol):
    """What a call takes: who we are towards a contact, who it was before, and what was retained."""

    @property
    def cache(self) -> ZidCache: ...

    def own(self, contact_id: str) -> bytes:
        """Our ZID for this contact and no other, so that two contacts cannot compare; twelve bytes."""
        ...

    def own_phone(self) -> bytes:
        """Our ZID towards our own phone, where that one speaks ZRTP and cannot be the end itself."""
        ...

    def peer(self, contact_id: str, end: End) -> bytes:
        """The ZID that this contact's phone, or agent, had before; empty where none is known."""
        ...

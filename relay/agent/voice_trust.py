"""What is kept with a contact of how far its voice is known to be its own: comparisons, doubts, an OpenPGP key.

Of the times of calls only the day is kept: a record of comparisons is not to become a record of calls.
"""

from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from relay.agent.voice_security import End, Mode
from relay.core import MisuseError
from relay.zrtp import AlarmKind

DAY = 86400


class Doubt(StrEnum):
    """An alarm that stays with the contact until the owner decides.  Those of an exchange have its names for them."""

    CACHE_MISMATCH = "cache_mismatch"
    AUXSECRET_MISMATCH = "auxsecret_mismatch"
    OTHER_ZID = "other_zid"
    HELLO_HASH_MISMATCH = "hello_hash_mismatch"
    TAMPERED = "tampered"
    DOWNGRADE = "downgrade"
    UNPROVEN = "unproven"
    """It was compared, and nothing that was kept since leads from there to this call."""
    OTHER_ENDS = "other_ends"
    """It was compared between other ends than those of this call."""
    WORDS_DIFFER = "words_differ"
    PGP_BAD = "openpgp_bad"
    PGP_OTHER_KEY = "openpgp_other_key"
    PGP_MISSING = "openpgp_missing"
    """Good signatures came in earlier calls, and none in this."""


SAID = {
    Doubt.CACHE_MISMATCH: "the keys of earlier calls are missing at the other end: it lost them, or is somebody else",
    Doubt.AUXSECRET_MISMATCH: "the voice and the cells that carry it have different ends: somebody is in between",
    Doubt.OTHER_ZID: "another phone or agent is at the other end than before",
    Doubt.HELLO_HASH_MISMATCH: "somebody else than the one whom the sealed message announced tried to agree on keys",
    Doubt.TAMPERED: "somebody on the way changed what the keys are agreed on with",
    Doubt.DOWNGRADE: "less protection than in earlier calls, or than was announced",
    Doubt.UNPROVEN: "you compared words once, and nothing proves that this is the same end",
    Doubt.OTHER_ENDS: "the keys are at another end than in earlier calls, a phone or an agent that nothing vouches for",
    Doubt.WORDS_DIFFER: "your words were not the same: somebody is in the middle",
    Doubt.PGP_BAD: "the OpenPGP signature over the keys is wrong: somebody is in the middle",
    Doubt.PGP_OTHER_KEY: "the OpenPGP signature over the keys is by a key that is not the contact's, or not valid now",
    Doubt.PGP_MISSING: "the keys of earlier calls came signed by OpenPGP, and those of a call since did not, or not so "
    "that it could be checked",
}
"""What people read."""

OF_A_KEY = (Doubt.PGP_BAD, Doubt.PGP_OTHER_KEY, Doubt.PGP_MISSING)
"""Those that another OpenPGP key settles."""

OF_ONE_CALL = {
    AlarmKind.DISCLOSURE: "the other end says of itself that it may give the keys of this call to others",
    AlarmKind.MITM_DEVICE: "the other end says of itself that it is a switchboard, which can listen",
    AlarmKind.RELAYED_SAS: "the other end sent words to show in place of the real ones; they are not shown",
    AlarmKind.GO_CLEAR: "the other end asked to go on without encryption; that was refused",
}
"""Alarms that are told and leave nothing behind."""


class Verification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Words that were the same, from our end to theirs; `day` in Unix days."""

    own_end: End
    peer_end: End
    day: int

    @property
    def mode(self) -> Mode:
        return Mode.of(self.own_end, self.peer_end)

    @property
    def date(self) -> str:
        return datetime.fromtimestamp(self.day * DAY, UTC).date().isoformat()

    def between(self, own_end: End, peer_end: End) -> bool:
        return (self.own_end, self.peer_end) == (own_end, peer_end)


class OpenDoubt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Since which day it is open; in Unix days."""

    doubt: Doubt
    day: int


class VoiceTrust(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One contact's.  `pgp` is the fingerprint of its OpenPGP key; `signed`: a good signature of it came once."""

    verified: tuple[Verification, ...] = ()
    doubts: tuple[OpenDoubt, ...] = ()
    pgp: str = ""
    signed: bool = False

    def verified_between(self, own_end: End, peer_end: End) -> Verification | None:
        """The comparison that counts for a call between these ends."""
        return next((one for one in self.verified if one.between(own_end, peer_end)), None)

    @property
    def alarm(self) -> str:
        """The doubts that are open, for people; "" without one."""
        return "; ".join(SAID[one.doubt] for one in self.doubts)

    def doubted(self, doubt: Doubt, wall: float) -> "VoiceTrust":
        """With one more; the day of one that is open already stays."""
        if any(one.doubt is doubt for one in self.doubts):
            return self
        return msgspec.structs.replace(self, doubts=(*self.doubts, OpenDoubt(doubt, _day(wall))))

    def compared(self, own_end: End, peer_end: End, wall: float) -> "VoiceTrust":
        """The words were the same: whatever was doubtful is settled.

        What was compared between other ends stands, unless it was doubted: it may have been somebody else's.
        """
        innocent = all(one.doubt is Doubt.OTHER_ENDS for one in self.doubts)
        others = tuple(one for one in self.verified if innocent and not one.between(own_end, peer_end))
        made = Verification(own_end, peer_end, _day(wall))
        return msgspec.structs.replace(self, verified=(*others, made), doubts=())

    def differed(self, own_end: End, peer_end: End, wall: float) -> "VoiceTrust":
        """The words were not the same: what was compared there before counts no more."""
        others = tuple(one for one in self.verified if not one.between(own_end, peer_end))
        return msgspec.structs.replace(self, verified=others).doubted(Doubt.WORDS_DIFFER, wall)

    def begun_anew(self) -> "VoiceTrust":
        """The owner knows of a change: the next call is the first one."""
        return VoiceTrust(pgp=self.pgp)

    def has_signed(self, fingerprint: str) -> "VoiceTrust":
        """A good signature of that key came: from now on one that is missing is a doubt, unless another key was named
        meanwhile."""
        return msgspec.structs.replace(self, signed=True) if self.pgp == fingerprint else self

    def with_pgp(self, fingerprint: str) -> "VoiceTrust":
        """Whose signatures count; what was doubted of another key's is settled."""
        others = tuple(one for one in self.doubts if one.doubt not in OF_A_KEY)
        return msgspec.structs.replace(self, pgp=fingerprint, signed=False, doubts=others)


def _day(wall: float) -> int:
    return int(wall) // DAY


def read_fingerprint(text: str) -> str:
    """An OpenPGP fingerprint as people write it: 40 hexadecimal digits, or 64, perhaps with spaces.

    Raises `MisuseError`; a short key number names many keys, and is none.
    """
    digits = "".join(text.split()).upper().removeprefix("0X")
    if len(digits) not in (40, 64) or set(digits) - set("0123456789ABCDEF"):
        raise MisuseError(
            "a fingerprint has 40 hexadecimal digits (or 64); 'gpg --fingerprint NAME' shows it"
        )
    return digits

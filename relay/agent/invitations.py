"""The inviter's end: making invitations, and taking up those who introduce themselves by one.

A one-time invitation takes the first, under the petname that it was made for.  Who comes by a standing one, or by our
listing, waits until the owner says yes, unless the settings say so for all.
"""

import re
from typing import Literal

from relay.agent.contact_file import Introducing, IntroductionRequest, KeptInvitation, OwnListing, Whereabouts
from relay.agent.contacts import ContactBook
from relay.agent.events import Reporter
from relay.agent.kept_book import is_name, new_id
from relay.agent.prekeys import PrekeyRing
from relay.core import Clock, Counters, Entropy, MisuseError, PeerError
from relay.forward_publish import LISTING_SECRET, RecordStatus, ReplayCache, open_introduction
from relay.identity import Identity, Invitation, InvitationKind

AcceptIntroductions = Literal["ask", "always"]

SILENT_FOR = 3 * 86400.0
"""Seconds without any record after which who follows an invitation is told: an agent that runs now and then has
published one by then, and one that does not may never."""
LONGEST_EXPIRY = 366 * 86400
USUAL_EXPIRY = "7d"

_EXPIRY = re.compile(r"([1-9]\d{0,3})([hd])")
_HOUR = 3600

_WORDS = {
    RecordStatus.OPEN: "open",
    RecordStatus.USED: "used",
    RecordStatus.EXPIRED: "expired",
    RecordStatus.WITHDRAWN: "withdrawn",
}
_TOO_LATE = {
    RecordStatus.USED: "the invitation was used by somebody already; ask for a new one",
    RecordStatus.EXPIRED: "the invitation has expired; ask for a new one",
    RecordStatus.WITHDRAWN: "the invitation was taken back; ask for a new one",
}
_SILENT = "nothing was there for days: whoever gave it to you is away, or takes nobody by it any more"


def parse_expiry(text: str) -> int:
    """Seconds in "36h" or "7d"; 0 for "never".  Raises `MisuseError`."""
    if text.strip().lower() == "never":
        return 0
    found = _EXPIRY.fullmatch(text.strip().lower())
    seconds = int(found[1]) * (_HOUR if found[2] == "h" else 24 * _HOUR) if found else 0
    if not 0 < seconds <= LONGEST_EXPIRY:
        raise MisuseError(
            "an invitation expires after hours or days, such as 36h or 7d, a year at most, or never"
        )
    return seconds


def status_word(status: RecordStatus) -> str:
    """One word for the maker of an invitation."""
    return _WORDS[status]


def why_not_yet(state: Introducing, wall: float) -> str:
    """A sentence for who follows an invitation, or a listing, that takes nobody any more, or of which nothing was found
    for long; "" where nothing is known to be wrong.  `wall` is Unix time."""
    silent = bool(state.silent_since) and wall - state.silent_since > SILENT_FOR
    return _TOO_LATE.get(state.refused, _SILENT if silent else "")


def make_invitation(
    book: ContactBook,
    name: str,
    kind: InvitationKind,
    public_key: bytes,
    contact_points: tuple[str, ...],
    lasts: int,
    *,
    wall: float,
    entropy: Entropy,
) -> tuple[Invitation, KeptInvitation]:
    """A new invitation, kept in `book`, that expires `lasts` seconds from Unix time `wall` (0: never).

    `name` is the petname of who will come by a one-time one; a standing one has none.  Raises `MisuseError`.
    """
    if kind is InvitationKind.ONCE and not is_name(name):
        raise MisuseError(
            "a contact's name is 1 to 64 letters, digits, '-' or '_': it is what the phone dials"
        )
    # Whole hours, upwards: that is what an invitation has room for.
    hours = -(-(int(wall) + lasts) // _HOUR) if lasts else 0
    invitation = Invitation.generate(kind, public_key, contact_points, hours, entropy)
    invitation.format()  # raises where it could not be handed over; then nothing is kept
    kept = KeptInvitation(
        new_id(entropy),
        kind,
        invitation.record_secret,
        entropy.token(32),
        name if kind is InvitationKind.ONCE else "",
        int(wall),
        hours * _HOUR,
    )
    book.invite(kept)
    return invitation, kept


class Introductions:
    """Takes what comes to the tokens of our invitations and of our listing."""

    def __init__(
        self,
        identity: Identity,
        book: ContactBook,
        prekeys: PrekeyRing,
        policy: AcceptIntroductions,
        *,
        clock: Clock,
        entropy: Entropy,
        report: Reporter,
    ) -> None:
        self.counters = Counters(("introduced", "asked", "repeated", "gave way", "too late"))
        self._identity = identity
        self._book = book
        self._prekeys = prekeys
        self._policy = policy
        self._clock = clock
        self._entropy = entropy
        self._report = report
        self._replays = ReplayCache()
        self._crowded = False

    def receive(self, door: KeptInvitation | OwnListing, body: bytes) -> None:
        """A sealed body came for a token of `door`.  Raises `PeerError` where it is no introduction."""
        wall = self._clock.wall()
        secret = door.secret if isinstance(door, KeptInvitation) else LISTING_SECRET
        opened = open_introduction(
            body, self._identity, secret, self._prekeys.usable(wall), self._replays, wall
        )
        if opened.identity == self._identity.public_key:
            raise PeerError("an introduction of ourselves")
        request = IntroductionRequest(
            id=new_id(self._entropy),
            name=opened.name,
            public_key=opened.identity,
            secret=opened.pairwise_secret,
            whereabouts=Whereabouts.of_introduction(opened, wall),
            invitation=door.id if isinstance(door, KeptInvitation) else "",
            received_at=int(wall),
        )
        if isinstance(door, KeptInvitation) and door.kind is InvitationKind.ONCE:
            self._take(door, request, wall)
        else:
            self._ask(door, request)

    def _take(self, door: KeptInvitation, request: IntroductionRequest, wall: float) -> None:
        made = self._book.taken(door, request, wall, self._entropy)
        if made is None:
            self.counters.count("too late")
            return
        self.counters.count("introduced")
        self._report("introduced", contact=made.name)

    def _ask(self, door: KeptInvitation | OwnListing, request: IntroductionRequest) -> None:
        if isinstance(door, KeptInvitation) and door.status_at(self._clock.wall()) is not RecordStatus.OPEN:
            self.counters.count("too late")
            return
        crowded = self._book.is_crowded
        if not self._book.asked(request):
            self.counters.count("repeated")
            return
        self.counters.count("asked")
        self._tell_if_crowded(crowded)
        if self._policy == "always":
            made = self._book.accept(request.id, self._book.free_name(request.name), self._entropy)
            self._report("introduced", contact=made.name)
        else:
            self._report("introduction", number=request.id, name=request.name)

    def _tell_if_crowded(self, crowded: bool) -> None:
        """Tell the owner, once until there is room again, that somebody new made another one give way."""
        if crowded:
            self.counters.count("gave way")
            if not self._crowded:
                self._report("introductions-crowded", waiting=len(self._book.requests))
        self._crowded = crowded

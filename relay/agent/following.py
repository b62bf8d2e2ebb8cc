"""What was handed to us, read: an invitation, the address of a listing, or somebody's account at a domain.

Each but the last says at once to whom we introduce ourselves, and by which secret; the domain is to be asked first.
"""

from dataclasses import dataclass, field

from relay.agent.contact_file import Introducing
from relay.agent.domains import Account, Found
from relay.core import ConfigurationError, MisuseError, PeerError
from relay.forward_publish import LISTING_SECRET
from relay.identity import Invitation, parse_address

_OURS = ".bayonne.alt"


@dataclass(frozen=True, slots=True)
class Lead:
    """Whom to introduce ourselves to, how, and at which contact points their record is looked for first."""

    public_key: bytes = field(repr=False)
    introducing: Introducing = field(repr=False)
    home: tuple[str, ...] = field(repr=False)


def read_handed(text: str, own_name: str, contact_points: tuple[str, ...], wall: float) -> Lead | Account:
    """Read what the owner was given, at Unix time `wall`.

    `own_name` is what we call ourselves, `contact_points` are ours.  Raises `MisuseError`, and `ConfigurationError`
    where a part is missing.
    """
    text = text.strip()
    address = _address(text)
    if address is not None:
        return Lead(address, Introducing(LISTING_SECRET, 0, own_name), contact_points)
    if "@" in text and "bayonne:" not in text.lower():
        return Account.parse(text)
    try:
        invitation = Invitation.parse(text)
    except PeerError as error:
        if error.reason == "another version":
            raise ConfigurationError(
                "that invitation is of another version of this program; ask for a new one"
            ) from None
        raise ConfigurationError(
            "that is no whole invitation; copy all of the line that begins with 'bayonne:'"
        ) from None
    return _by_invitation(invitation, own_name, wall)


def lead_of(found: Found, own_name: str, contact_points: tuple[str, ...], wall: float) -> Lead:
    """What a domain said, followed: by its standing invitation, or by the listing of the address.  Raises
    `MisuseError`."""
    if (invitation := found.invitation) is not None:
        return _by_invitation(invitation, own_name, wall)
    return Lead(found.public_key, Introducing(LISTING_SECRET, 0, own_name), contact_points)


def _by_invitation(invitation: Invitation, own_name: str, wall: float) -> Lead:
    if invitation.expired(wall):
        raise MisuseError("that invitation has expired; ask for a new one")
    introducing = Introducing(invitation.record_secret, invitation.expires * 3600, own_name)
    return Lead(invitation.inviter_public_key, introducing, tuple(invitation.contact_points))


def _address(text: str) -> bytes | None:
    """The identity key, where `text` is an address of ours; such names are never asked of a domain (RFC 9476)."""
    host = text.lower().removeprefix("sip:").rpartition("@")[2].removesuffix(".")
    if host.endswith(_OURS):
        try:
            return parse_address(host)
        except PeerError:
            raise ConfigurationError(
                f"that is no whole address; copy all of its 56 characters before '{_OURS}'"
            ) from None
    try:
        return parse_address(text)
    except PeerError:
        return None

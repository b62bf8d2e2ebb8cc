"""Domain calling: `alice@example.org` becomes a standing address by what that domain publishes (WebFinger, RFC 7033).

The domain is asked through Tor alone: it learns that somebody asked for that account, never who.  What it says is
believed once; see `domain_pins`.
"""

import re
import ssl
from dataclasses import dataclass, field
from urllib.parse import quote

import idna
import msgspec

from relay.agent.web_get import HTTPS, WebDialer, WebGet, is_onion, is_public_name
from relay.core import MisuseError, PeerError, RefusedByPolicy
from relay.identity import Invitation, InvitationKind, format_address, parse_address
from relay.wire import UNREADABLE

REL_STANDING_ADDRESS = "urn:uuid:a07a634e-85a8-4479-a747-e8e600281934"
"""The link relation of a standing address or invitation (RFC 8288 section 2.1.2 wants a URI; this one, of RFC 9562,
needs no domain that somebody would have to keep)."""

JRD_TYPES = frozenset({"application/jrd+json", "application/json"})

_ACCEPT = "application/jrd+json, application/json"
_USER = re.compile(r"[a-z0-9](?:[a-z0-9._~+-]{0,62}[a-z0-9])?")
_STANDING = re.compile(
    r"sip:(?:[A-Za-z0-9._~!$&'()*+,;=%-]{1,64}@)?([a-zA-Z2-7]{56}\.bayonne\.alt)", re.IGNORECASE
)
_INVITATION = re.compile(r"bayonne:[a-z2-7]+", re.IGNORECASE | re.ASCII)
_LONGEST_DOMAIN = 253
_LONGEST_HREF = 1024
_MOST_LINKS = 256


@dataclass(frozen=True, slots=True)
class Account:
    """`user@domain`, in the one spelling that everything is compared and kept by: small letters, A-labels."""

    user: str
    domain: str

    @classmethod
    def parse(cls, text: str) -> "Account":
        """What a user wrote or dialled, with or without "acct:" or "sip:".  Raises `MisuseError`.

        Capitals mean nothing: phones do as they like with them, and they must not lead around a pin.
        """
        text = text.strip()
        for scheme in ("acct:", "sip:"):
            if text.lower().startswith(scheme):
                text = text[len(scheme) :]
        user, at, domain = text.rpartition("@")
        name = _a_labels(domain)
        if not at or not user.isascii() or not _USER.fullmatch(user := user.lower()):
            raise MisuseError(
                "an account is written as alice@example.org, its name in plain letters and digits"
            )
        if not (is_onion(name) or is_public_name(name)):
            raise MisuseError(
                "a domain has a name such as example.org; addresses and local names are not asked"
            )
        return cls(user, name)

    @property
    def text(self) -> str:
        return f"{self.user}@{self.domain}"

    @property
    def uri(self) -> str:
        """RFC 7565."""
        return f"acct:{self.text}"


@dataclass(frozen=True, slots=True)
class Found:
    """What a domain says of an account: the identity key, and the link as it stands there."""

    account: Account
    public_key: bytes = field(repr=False)
    href: str = field(repr=False)

    @property
    def address(self) -> str:
        """56 characters."""
        return format_address(self.public_key)

    @property
    def invitation(self) -> Invitation | None:
        """The standing invitation, where the domain gives one; a mere address else."""
        return Invitation.parse(self.href) if _is_invitation(self.href) else None


class _Link(msgspec.Struct, frozen=True):
    """Section 4.4.4; what else a link says is not for us."""

    rel: str = ""
    href: str = ""


class _Descriptor(msgspec.Struct, frozen=True):
    """A JSON resource descriptor (section 4.4); `links` are decoded one by one, for others' may be odd."""

    subject: str = ""
    links: list[msgspec.Raw] = msgspec.field(default_factory=list)


class DomainResolver:
    """Asks domains, through `dialer` alone; `trust` is made by `web_trust`."""

    def __init__(self, dialer: WebDialer, trust: ssl.SSLContext, *, port: int = HTTPS) -> None:
        self._web = WebGet(dialer, trust, port=port)

    async def resolve(self, account: Account) -> Found:
        """What the domain says now.

        Raises `TransportUnavailable`; `RefusedByPolicy` where the domain knows no such account or no address for it;
        `PeerError` where what it says cannot be used.
        """
        target = f"/.well-known/webfinger?resource={quote(account.uri, safe='')}"
        target += f"&rel={quote(REL_STANDING_ADDRESS, safe='')}"
        # One circuit for each account: two that are asked of one domain must not tell it that one person asks.
        answer = await self._web.get(account.domain, target, accept=_ACCEPT, isolation=account.uri)
        if answer.status in (404, 410):
            raise RefusedByPolicy("that domain knows no such account; check how it is written")
        if answer.status != 200:
            raise PeerError("bad status", "RFC 7033 section 4.2")
        if answer.content_type not in JRD_TYPES:
            raise PeerError("bad content type", "RFC 7033 section 10.2")
        return read_descriptor(answer.body, account)


def read_descriptor(body: bytes, account: Account) -> Found:
    """What a resource descriptor says of `account`.  Raises `PeerError`, `RefusedByPolicy`."""
    try:
        descriptor = msgspec.json.decode(body, type=_Descriptor)
    except UNREADABLE:
        raise PeerError("bad resource descriptor", "RFC 7033 section 4.4") from None
    # The section lets a subject differ from what was asked; then who answers for whom would be theirs to say.
    if not _is_same(descriptor.subject, account):
        raise PeerError("another subject", "RFC 7033 section 4.4.1")
    if len(descriptor.links) > _MOST_LINKS:
        raise PeerError("too many links", "RFC 7033 section 4.4.4")
    for raw in descriptor.links:
        try:
            link = msgspec.json.decode(raw, type=_Link)
        except UNREADABLE:
            continue
        if link.rel == REL_STANDING_ADDRESS:
            return Found(account, _identity_key(link.href), link.href)
    raise RefusedByPolicy(
        "that domain publishes no address to call for this account; ask the person for an invitation"
    )


def format_descriptor(account: Account, href: str) -> str:
    """What a domain publishes for `account`, for people to put on a web server: JSON that `read_descriptor` takes."""
    links = [{"rel": REL_STANDING_ADDRESS, "href": href}]
    return msgspec.json.format(
        msgspec.json.encode({"subject": account.uri, "links": links}), indent=2
    ).decode()


def _identity_key(href: str) -> bytes:
    if len(href) > _LONGEST_HREF:
        raise PeerError("oversized")
    if found := _STANDING.fullmatch(href):
        return parse_address(found[1])
    if not _is_invitation(href):
        raise PeerError("bad address", "RFC 7033 section 4.4.4.3")
    invitation = Invitation.parse(href)
    if invitation.kind is not InvitationKind.STANDING:
        # One for a single use would be spent by whoever asks first.
        raise PeerError("no standing invitation")
    return invitation.inviter_public_key


def _is_invitation(href: str) -> bool:
    """No more than the URI itself: what messengers add has no place here."""
    return _INVITATION.fullmatch(href) is not None


def _is_same(subject: str, account: Account) -> bool:
    if not subject.lower().startswith("acct:"):
        return False
    try:
        return Account.parse(subject) == account
    except MisuseError:
        return False


def _a_labels(domain: str) -> str:
    """RFC 5891; the mapping of UTS 46 first, for what people type."""
    domain = domain.removesuffix(".")
    if len(domain) > _LONGEST_DOMAIN:
        raise MisuseError("that domain's name is longer than names of domains may be")
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise MisuseError("that domain's name is not written in letters that domains may have") from None

"""Whom a dialled URI means: a petname, somebody's account at a domain, or somebody's address.

A name alone is a petname, and so is one at the agent itself, where phones dial everything.  Behind any other host
stands what that host says of its own names: only a contact that was found there has such an account, whatever it is
called here; and an address that is mistyped is nobody's.  Nothing is asked of the network: a call must not tell a
domain whom somebody rings.
"""

from relay.agent.contact_file import Contact
from relay.agent.domains import Account
from relay.agent.kept_book import KeptBook
from relay.agent.phone import is_loopback
from relay.core import MisuseError, PeerError
from relay.identity import parse_address
from relay.sip.uri import SipUri

NONE_OF_YOURS = (
    "none of your contacts has the account or the address that was dialled; add an account with 'bayonne contact add "
    "NAME ACCOUNT', or dial the name of a contact alone"
)
"""What the owner reads where nobody was found behind a host."""

_OURS = "bayonne.alt"


def is_petname(dialled: SipUri, own_key: bytes) -> bool:
    """Whether a name stands alone, or before a host that is the agent's, by number or by name: this machine,
    bayonne.alt, or the address of `own_key`, where its owner's phone may be registered."""
    host = _host(dialled)
    return is_loopback(host.strip("[]")) or host in ("localhost", _OURS) or _key(host) == own_key


def find_dialled(book: KeptBook, dialled: SipUri, own_key: bytes) -> Contact | None:
    """The contact that was dialled; `own_key` is the identity key of whoever dials."""
    try:
        user = dialled.user_text  # names need not be ASCII
    except PeerError:
        return None
    host = _host(dialled)
    if is_petname(dialled, own_key):
        return book.find(user)
    if not host.endswith(f".{_OURS}"):
        return _of_account(book, user, host)
    # An address says who is meant, better than any name before it.
    key = _key(host)
    return None if key is None else next((one for one in book if one.public_key == key), None)


def _key(host: str) -> bytes | None:
    """The identity key whose address is the host; None where it is no address."""
    label, dot, rest = host.partition(".")
    try:
        return parse_address(label) if dot and rest == _OURS else None
    except PeerError:
        return None


def _of_account(book: KeptBook, user: str, host: str) -> Contact | None:
    try:
        account = Account.parse(f"{user}@{host}")
    except MisuseError:
        return None
    return next((contact for contact in book if contact.account == account.text), None)


def _host(dialled: SipUri) -> str:
    return dialled.host.removesuffix(".")

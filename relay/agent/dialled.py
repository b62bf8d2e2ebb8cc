"""Whom a dialled URI means: a petname, somebody's account at a domain, or somebody's address.

A name alone is a petname, and so is one at the agent itself, where phones dial everything.  Behind any other host
stands what that host says of its own names: only a contact that was found there has such an account, whatever it is
called here.  Nothing is asked of the network: a call must not tell a domain whom somebody rings.
"""

from relay.agent.contact_file import Contact
from relay.agent.domains import Account
from relay.agent.kept_book import KeptBook
from relay.agent.phone import is_loopback
from relay.core import MisuseError, PeerError
from relay.identity import ADDRESS_SIZE, parse_address
from relay.sip.uri import SipUri

NO_SUCH_ACCOUNT = (
    "none of your contacts has the account that was dialled; add it with 'bayonne contact add NAME ACCOUNT', or dial "
    "the name of a contact alone"
)
"""What the owner reads where nobody was found behind a foreign host."""

_OURS = "bayonne.alt"


def is_foreign(dialled: SipUri) -> bool:
    """Whether the host is neither the agent's nor a name of ours: what stands before it is no petname."""
    host = _host(dialled)
    ours = host == _OURS or host.endswith(f".{_OURS}")
    return not (ours or is_loopback(host.strip("[]")) or host == "localhost")


def find_dialled(book: KeptBook, dialled: SipUri, own_key: bytes) -> Contact | None:
    """The contact that was dialled; `own_key` is the identity key of whoever dials."""
    try:
        user = dialled.user_text  # names need not be ASCII
    except PeerError:
        return None
    if is_foreign(dialled):
        return _of_account(book, user, _host(dialled))
    label = _host(dialled).removesuffix(f".{_OURS}")
    if len(label) != ADDRESS_SIZE:
        return book.find(user)
    try:
        key = parse_address(label)
    except PeerError:
        return None
    # An address says who is meant, better than any name before it; our own is where our phone is registered.
    return book.find(user) if key == own_key else next((one for one in book if one.public_key == key), None)


def _of_account(book: KeptBook, user: str, host: str) -> Contact | None:
    try:
        account = Account.parse(f"{user}@{host}")
    except MisuseError:
        return None
    return next((contact for contact in book if contact.account == account.text), None)


def _host(dialled: SipUri) -> str:
    return dialled.host.removesuffix(".")

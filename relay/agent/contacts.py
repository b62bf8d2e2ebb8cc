"""The people an agent knows: petnames, pairwise secrets, tokens, and what was last found out about how to ring them."""

from collections.abc import Iterator
from functools import lru_cache

import msgspec

from relay.agent.state import StateDirectory
from relay.core import ConfigurationError, Entropy, MisuseError
from relay.forward_publish import Role, TokenKey
from relay.identity import Invitation

CONTACTS_FILE = "contacts.json"
MAX_CONTACTS = 1000


class Whereabouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to ring a contact, from the newest of its records that was found."""

    onion: str
    token: str
    prekey: bytes
    revision: int
    expires: int


class Contact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One person.

    `secret` is shared by the two alone; `role` says who of them invited.  `public_key` is empty for somebody we
    invited and have not heard of yet.  `token_seed` is our own token key for this contact.
    """

    name: str
    secret: bytes
    role: Role
    token_seed: bytes
    contact_points: tuple[str, ...]
    public_key: bytes = b""
    whereabouts: Whereabouts | None = None

    @property
    def token(self) -> TokenKey:
        return _token_key(self.token_seed)


@lru_cache(maxsize=2 * MAX_CONTACTS)
def _token_key(seed: bytes) -> TokenKey:
    """Made once: deriving it takes as long as sealing many cells."""
    return TokenKey.from_seed(seed)


class _Book(msgspec.Struct, forbid_unknown_fields=True):
    contacts: list[Contact] = msgspec.field(default_factory=list)


class ContactBook:
    """The contacts on disk, shared by a running agent and `bayonne contact`."""

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self._book = _Book()
        self._stamp: tuple[int, int] | None = None
        self._by_token: dict[str, bytes] = {}
        self.version = 0
        """Counts how often the contacts were read anew."""

    def refresh(self) -> bool:
        """Read the file again if it changed.  True when it did."""
        try:
            found = (self._state.path / CONTACTS_FILE).stat()
        except FileNotFoundError:
            return False
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp == self._stamp:
            return False
        try:
            self._book = msgspec.json.decode(self._state.read(CONTACTS_FILE) or b"{}", type=_Book)
        except msgspec.DecodeError:
            raise ConfigurationError(
                f"{CONTACTS_FILE} in the state directory is damaged; restore it, or move it away to begin anew"
            ) from None
        self._stamp = stamp
        self._by_token = {contact.token.token: contact.secret for contact in self}
        self.version += 1
        return True

    def __iter__(self) -> Iterator[Contact]:
        return iter(self._book.contacts)

    def find(self, name: str) -> Contact | None:
        """The contact of that petname; capitals do not matter, because phones do as they like with them."""
        wanted = name.casefold()
        return next((contact for contact in self if contact.name.casefold() == wanted), None)

    def by_token(self, token: str) -> Contact | None:
        """The contact to whom we gave that token."""
        secret = self._by_token.get(token)
        return next((contact for contact in self if contact.secret == secret), None)

    def invite(
        self, name: str, contact_points: tuple[str, ...], public_key: bytes, entropy: Entropy
    ) -> Invitation:
        """Add somebody who is about to be invited, and make the invitation to hand over."""
        invitation = Invitation(public_key, entropy.token(32), contact_points)
        invitation.format()  # raises where it could not be handed over; then nobody is added
        self._add(
            Contact(name, invitation.secret, Role.INVITER, entropy.token(32), contact_points=contact_points)
        )
        return invitation

    def accept(self, name: str, invitation: Invitation, entropy: Entropy) -> None:
        """Add the person whose invitation we were handed."""
        self._add(
            Contact(
                name,
                invitation.secret,
                Role.INVITEE,
                entropy.token(32),
                contact_points=tuple(invitation.contact_points),
                public_key=invitation.inviter_public_key,
            )
        )

    def remove(self, name: str) -> None:
        """Forget somebody; the token given to them goes too.  Raises `MisuseError` when nobody is called that."""
        with self._state.locked("contacts"):
            self.refresh()
            contact = self.find(name)
            if contact is None:
                raise MisuseError("no contact of that name; 'bayonne contact list' shows them")
            self._book.contacts.remove(contact)
            self._save()

    def found(self, contact: Contact, public_key: bytes, whereabouts: Whereabouts) -> Contact:
        """Keep what a contact's record said.  Returns the contact as it is now known."""
        with self._state.locked("contacts"):
            self.refresh()
            for position, known in enumerate(self._book.contacts):
                if known.secret == contact.secret:
                    updated = msgspec.structs.replace(known, public_key=public_key, whereabouts=whereabouts)
                    if updated != known:
                        self._book.contacts[position] = updated
                        self._save()
                    return updated
        return contact

    def _add(self, contact: Contact) -> None:
        if (
            not contact.name
            or len(contact.name) > 64
            or not contact.name.replace("-", "").replace("_", "").isalnum()
        ):
            raise MisuseError(
                "a contact's name is 1 to 64 letters, digits, '-' or '_': it is what the phone dials"
            )
        with self._state.locked("contacts"):
            self.refresh()
            if self.find(contact.name) is not None:
                raise MisuseError(
                    "a contact of that name is there already; choose another name, or remove it first"
                )
            if len(self._book.contacts) >= MAX_CONTACTS:
                raise MisuseError("the contact list is full")
            if any(known.secret == contact.secret for known in self):
                raise MisuseError("that invitation was used here already")
            self._book.contacts.append(contact)
            self._save()

    def _save(self) -> None:
        self._state.write(CONTACTS_FILE, msgspec.json.encode(self._book))
        self._stamp = None
        self.refresh()

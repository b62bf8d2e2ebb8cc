"""Domain calling in a running agent: questions of `bayonne contact add`, checks on schedule, doubts before a call."""

import asyncio
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol

import msgspec

from relay.agent.contact_file import Contact
from relay.agent.contacts import ContactBook
from relay.agent.control import Stage
from relay.agent.domain_checks import DomainChecks
from relay.agent.domain_contacts import DomainContacts
from relay.agent.domain_pins import DomainPins
from relay.agent.domains import Account, DomainResolver
from relay.agent.events import Reporter
from relay.agent.kept import Kept
from relay.agent.web_get import UNTRUSTED, WebDialer, web_trust
from relay.core import Clock, Entropy, PeerError, RefusedByPolicy, TransportUnavailable

RESOLVE = "resolve"
"""The command at the agent's door: asks the domain of argument `account`; answers with `address` and `href`."""

TOR_SECONDS = 60.0
"""How long a question waits for a Tor that is still starting."""


class DomainSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[domains]`: `ca_file` holds certificates (PEM) of authorities to trust besides the system's."""

    ca_file: str = ""

    @property
    def path(self) -> str:
        return str(Path(self.ca_file).expanduser()) if self.ca_file else ""


class Way(WebDialer, Protocol):
    """Tor, which may not be up yet."""

    @property
    def up(self) -> bool: ...
    async def wait_up(self) -> None: ...


class DomainDesk:
    """The agent's side of everything that has to do with domains."""

    def __init__(
        self,
        settings: DomainSettings,
        way: Way,
        book: ContactBook,
        state: Kept,
        *,
        clock: Clock,
        entropy: Entropy,
        report: Reporter,
    ) -> None:
        self._settings = settings
        self._way = way
        self._book = book
        self._pins = DomainPins(state)
        self._contacts = DomainContacts(book, self._pins)
        self._clock = clock
        self._entropy = entropy
        self._report = report

    @cached_property
    def _resolver(self) -> DomainResolver:
        return DomainResolver(self._way, web_trust(self._settings.path))

    async def run(self) -> None:
        """Check what was pinned, until cancelled.  Raises `ConfigurationError` for authorities that are of no use."""
        checks = DomainChecks(
            self._book,
            self._pins,
            self._resolver,
            clock=self._clock,
            entropy=self._entropy,
            report=self._report,
        )
        await self._way.wait_up()
        await checks.run()

    def doubt(self, contact: Contact) -> str:
        """See `DomainContacts.doubt`."""
        return self._contacts.doubt(contact)

    async def resolve(self, arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        """A `relay.agent.control.Handler`.  Every sentence that it raises says what to do next."""
        account = Account.parse(arguments.get("account", ""))
        if not self._way.up:
            stage("waiting for Tor")
            try:
                async with asyncio.timeout(TOR_SECONDS):
                    await self._way.wait_up()
            except TimeoutError:
                raise TransportUnavailable(
                    "Tor is not up, and nothing goes around it; see what the agent says of it, and try again"
                ) from None
        stage("asking the domain through Tor")
        try:
            found = await self._resolver.resolve(account)
        except PeerError as error:
            raise _explained(error) from None
        return {"address": found.address, "href": found.href}


def _explained(error: PeerError) -> RefusedByPolicy:
    if error.reason == UNTRUSTED:
        return RefusedByPolicy(
            "that domain does not prove its name: nobody whom this machine trusts signed its certificate; if it has "
            "an authority of its own, name that one's file in '[domains] ca_file'"
        )
    return RefusedByPolicy(
        f"what that domain answers is of no use: {error}; ask the person for an invitation, or try again later"
    )

"""`bayonne contact` and people at domains: what the command says and keeps, with a door behind which no Tor is."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from relay.agent import PlainFiles
from relay.agent.contact_file import OwnListing
from relay.agent.control import Stage
from relay.agent.credentials import own_identity
from relay.agent.domain_desk import RESOLVE
from relay.agent.domain_pins import DomainPins
from relay.agent.domains import Account, Found, read_descriptor
from relay.core import BayonneError, MisuseError, RefusedByPolicy, SeededEntropy, TransportUnavailable
from relay.forward_publish import LISTING_SECRET
from relay.identity import Identity
from tests.cli.running_agent import answering
from tests.cli.test_contact import book_of, call, configuration, refused, run

ALICE = Account("alice", "example.org")
HERS, ANOTHERS = (Identity.generate(SeededEntropy(name)) for name in ("alice", "another"))


@pytest.fixture
def bob(tmp_path: Path) -> Path:
    return configuration(tmp_path, "bob")


class Agent:
    """As much of a running agent as the command sees; `says` is what domains say."""

    def __init__(self, path: Path) -> None:
        self.state = PlainFiles(path.with_suffix(""))
        self.asked: list[str] = []
        self.says: Identity | BayonneError = HERS

    async def _resolve(self, arguments: Mapping[str, str], stage: Stage) -> Mapping[str, str]:
        self.asked.append(arguments["account"])
        stage("asking the domain through Tor")
        if isinstance(self.says, BayonneError):
            raise self.says
        return {"address": self.says.address, "href": self.says.sip_uri("x")}

    def change(self, who: Identity) -> None:
        """A check found somebody else."""
        DomainPins(self.state).note(Found(ALICE, who.public_key, who.sip_uri("x")), 2e9)

    def running(self) -> contextlib.AbstractContextManager[None]:
        return answering(self.state.path, {RESOLVE: self._resolve})


@pytest.fixture
def agent(bob: Path) -> Iterator[Agent]:
    made = Agent(bob)
    with made.running():
        yield made


def row(path: Path) -> dict[str, object]:
    (found,) = json.loads(run(path, "list", "--json"))
    assert isinstance(found, dict)
    return found


def test_an_account_is_asked_of_the_agent_shown_pinned_and_kept(bob: Path, agent: Agent) -> None:
    result = call(bob, "add", "alice", "Alice@Example.org", "--as", "Bob")
    assert result.exception is None
    assert "asking the domain through Tor ..." in result.stderr
    assert f"alice@example.org is {HERS.address}" in result.stdout
    assert "alice was added" in result.stdout
    assert agent.asked == ["alice@example.org"]
    (contact,) = book_of(bob)
    assert (contact.public_key, contact.account) == (HERS.public_key, ALICE.text)
    assert contact.introducing is not None
    assert (contact.introducing.secret, contact.introducing.own_name) == (LISTING_SECRET, "Bob")
    pin = DomainPins(agent.state).find(ALICE)
    assert pin is not None
    assert pin.address == HERS.address
    assert "alice@example.org" in run(bob, "list")


def test_by_standard_input_and_as_json(bob: Path, agent: Agent) -> None:
    result = call(bob, "add", "alice", "--json", typed="alice@example.org\n")
    assert json.loads(result.stdout) == {
        "name": "alice",
        "account": ALICE.text,
        "address": HERS.address,
    }
    shown = row(bob)
    assert (shown["account"], shown["alarm"], shown["offered"]) == (ALICE.text, "", "")
    assert shown["checked"]


def test_without_a_running_agent_the_next_step_is_said_and_nothing_is_kept(bob: Path) -> None:
    error = refused(bob, "add", "alice", ALICE.text)
    assert isinstance(error, TransportUnavailable)
    assert "start 'bayonne agent'" in str(error)
    assert not list(book_of(bob))


def test_what_the_agent_cannot_find_is_its_sentence_and_nothing_is_kept(bob: Path, agent: Agent) -> None:
    agent.says = RefusedByPolicy("that domain knows no such account; check how it is written")
    assert str(refused(bob, "add", "alice", ALICE.text)) == str(agent.says)
    assert not list(book_of(bob))
    assert DomainPins(agent.state).all() == ()


def test_nobody_is_asked_where_the_answer_would_be_of_no_use(bob: Path, agent: Agent) -> None:
    run(bob, "add", "alice", ALICE.text)
    for name, account in (
        ("alice", "x@example.org"),
        ("alice2", "ALICE@example.org"),
        ("a b", "y@example.org"),
    ):
        assert isinstance(refused(bob, "add", name, account), MisuseError)
    for text in (f"alice@{HERS.address}.bayonne.alt", HERS.address, "x@example.org"):
        assert "was used here already" in str(refused(bob, "add", "again", text))
    assert agent.asked == [ALICE.text, "x@example.org"]


def test_our_own_names_are_never_asked_of_a_domain(bob: Path) -> None:
    run(bob, "add", "alice", HERS.sip_uri("alice"))
    (contact,) = book_of(bob)
    assert (contact.public_key, contact.account) == (HERS.public_key, "")


def test_ones_own_account_is_refused(bob: Path, agent: Agent) -> None:
    agent.says = own_identity(agent.state, SeededEntropy("bob"))
    assert "your own" in str(refused(bob, "add", "me", ALICE.text))
    assert not list(book_of(bob))


def test_an_alarm_shows_and_is_accepted_after_a_look(bob: Path, agent: Agent) -> None:
    run(bob, "add", "alice", ALICE.text)
    assert "nothing has changed" in str(refused(bob, "accept-change", "alice"))
    agent.change(ANOTHERS)
    assert "ALARM: that domain names somebody else than before" in run(bob, "list")
    shown = row(bob)
    assert "accept-change" in str(shown["alarm"])
    assert (shown["address"], shown["offered"]) == (HERS.address, ANOTHERS.address)
    for answer in ("n\n", "\n", None):
        declined = call(bob, "accept-change", "alice", typed=answer)
        assert declined.exit_code == 1
        assert HERS.address in declined.stderr
        assert ANOTHERS.address in declined.stderr
        assert row(bob)["address"] == HERS.address
    assert "is the new address now" in run(bob, "accept-change", "alice", typed="y\n")
    shown = row(bob)
    assert (shown["address"], shown["alarm"], shown["state"]) == (ANOTHERS.address, "", "introducing")


def test_a_program_accepts_the_address_that_it_was_shown_and_no_other(bob: Path, agent: Agent) -> None:
    run(bob, "add", "alice", ALICE.text)
    agent.change(ANOTHERS)
    assert isinstance(refused(bob, "accept-change", "alice", HERS.address), MisuseError)
    said = run(bob, "accept-change", "alice", ANOTHERS.address.upper(), "--json")
    assert json.loads(said) == {"name": "alice", "account": ALICE.text, "address": ANOTHERS.address}
    assert isinstance(refused(bob, "accept-change", "carol", HERS.address), MisuseError)


def test_what_is_published_no_more_or_was_not_heard_of_for_long_shows(bob: Path, agent: Agent) -> None:
    run(bob, "add", "alice", ALICE.text)
    pins = DomainPins(agent.state)
    pins.note_withdrawn(ALICE, 2e9)
    assert "not published any more" in run(bob, "list")
    assert row(bob)["withdrawn"] is True
    pins.note(Found(ALICE, HERS.public_key, ""), 1e9)
    assert "said nothing of use for" in run(bob, "list")


def test_with_the_contact_goes_the_pin(bob: Path, agent: Agent) -> None:
    run(bob, "add", "alice", ALICE.text)
    agent.change(ANOTHERS)
    run(bob, "remove", "alice")
    assert DomainPins(agent.state).all() == ()
    agent.says = ANOTHERS
    run(bob, "add", "alice", ALICE.text)
    assert row(bob)["alarm"] == ""


def test_what_a_domain_publishes_is_printed_once_one_can_be_reached_so(bob: Path) -> None:
    assert "publish a listing first" in str(refused(bob, "webfinger", ALICE.text))
    assert isinstance(refused(bob, "webfinger", "alice"), MisuseError)
    book_of(bob).set_listing(OwnListing("Bob", "", (), (), bytes(32), 1))
    found = read_descriptor(run(bob, "webfinger", "Alice@example.org").encode(), ALICE)
    state = PlainFiles(bob.with_suffix(""))
    assert found.public_key == own_identity(state, SeededEntropy("unused")).public_key
    assert found.invitation is None


def test_a_standing_invitation_can_be_published_without_a_listing(bob: Path) -> None:
    found = read_descriptor(run(bob, "webfinger", ALICE.text, "--invitation").encode(), ALICE)
    (kept,) = book_of(bob).invitations
    assert found.invitation is not None
    assert found.invitation.record_secret == kept.secret
    assert json.loads(run(bob, "invitations", "--json"))[0]["kind"] == "standing"

"""`bayonne contact verify` and `set-pgp` beside a running agent, with a desk behind its door and a call on it."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay.agent.events import Value
from relay.agent.kept import PlainFiles
from relay.agent.verification_desk import COMPARED, WORDS, VerificationDesk
from relay.agent.voice_security import Agreement, End, Secured
from relay.agent.voice_trust import Doubt
from relay.agent.zid_cache import ZIDS_FILE, ZidCache
from relay.core import (
    BayonneError,
    ManualClock,
    MisuseError,
    RefusedByPolicy,
    SystemEntropy,
    TransportUnavailable,
)
from relay.zrtp import Retained, Strength
from tests.agent.voice_calls import AGREED, VERIFIED, FakeCall
from tests.cli.running_agent import answering
from tests.cli.test_contact import book_of, call, configuration, known, refused, run

KEY = "AB" * 20


class Agent:
    """As much of a running agent as the commands see."""

    def __init__(self, path: Path) -> None:
        state = PlainFiles(path.with_suffix(""))
        self.contact = known(path, "bob")
        self.path = path
        self.state = state
        self.told: list[str] = []
        self.hung_up: list[str] = []
        self.call = FakeCall()
        self.zids = zids = ZidCache(state, ManualClock(), SystemEntropy())
        self.desk = VerificationDesk(
            book_of(path), zids, clock=ManualClock(), report=self._report, hang_up=self.hung_up.append
        )
        zids.keep(
            zids.own(self.contact.id), VERIFIED.peer_zid, Retained(bytes(32), Strength(256, 128, 128)), 10**6
        )

    def _report(self, event: str, /, **fields: Value) -> None:
        self.told.append(event)

    def talk(self, agreement: Agreement | None = AGREED, end: End = End.AGENT) -> None:
        """A call is on, and has keys."""
        if agreement is not None:
            agreement = replace(agreement, own_zid=self.zids.own(self.contact.id))
        self.desk.secured(Secured(self.contact.id, "bob", end, end, agreement), self.call)

    def running(self) -> contextlib.AbstractContextManager[None]:
        return answering(self.state.path, {WORDS: self.desk.words, COMPARED: self.desk.compared})


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    return configuration(tmp_path, "alice")


@pytest.fixture
def agent(alice: Path) -> Iterator[Agent]:
    made = Agent(alice)
    with made.running():
        yield made


def row(path: Path) -> dict[str, object]:
    (found,) = json.loads(run(path, "list", "--json"))
    assert isinstance(found, dict)
    return found


def test_words_are_shown_asked_about_and_kept(alice: Path, agent: Agent) -> None:
    agent.talk()
    result = call(alice, "verify", "bob", typed="y\n")
    assert result.exception is None
    assert "aardvark adviser" in result.stdout
    assert AGREED.sas.characters in result.stdout
    assert "in your agent and bob's" in result.stdout
    assert "Do they say the same?" in result.stderr
    assert "bob is verified" in result.stdout
    assert agent.call.said == ["same"]
    assert row(alice)["verified"] == [{"mode": "agents", "end": "agent", "since": "2027-01-15"}]
    assert "verified 2027-01-15 (agents)" in run(alice, "list")
    assert "You compared on 2027-01-15" in run(alice, "verify", "bob", "--yes")


def test_words_that_differ_are_said_loudly_and_with_an_error(alice: Path, agent: Agent) -> None:
    agent.talk()
    error = refused(alice, "verify", "bob", typed="n\n")
    assert isinstance(error, RefusedByPolicy)
    assert "somebody is in the middle" in str(error)
    assert agent.call.said == ["different"]
    assert agent.hung_up == [agent.contact.id]
    assert "ALARM: your words were not the same" in run(alice, "list")
    assert "ALARM: your words were not the same" in run(alice, "verify", "bob", "--yes")
    assert row(alice)["voice_alarm"] == ""


def test_no_answer_is_no_answer(alice: Path, agent: Agent) -> None:
    agent.talk()
    result = call(alice, "verify", "bob", typed="\n\n")
    assert result.exit_code != 0
    assert agent.call.said == []
    assert row(alice)["verified"] == []


def test_as_json_the_words_are_printed_and_with_yes_decided(alice: Path, agent: Agent) -> None:
    agent.talk()
    shown = json.loads(call(alice, "verify", "bob", "--json").stdout)
    assert (shown["words"], shown["mode"], shown["compared"]) == ("aardvark adviser", "agents", "")
    assert agent.call.said == []
    shown = json.loads(call(alice, "verify", "bob", "--json", "--yes").stdout)
    assert shown["verified"] is True
    assert agent.call.said == ["same"]


def test_phones_have_their_own_words_and_it_is_said(alice: Path, agent: Agent) -> None:
    agent.talk(None, End.PHONE)
    shown = run(alice, "verify", "bob", "--yes")
    assert "in both phones" in shown
    assert "Your phone keeps for itself whom it knows" in shown
    assert agent.call.said == []


def test_without_a_call_or_an_agent_the_next_step_is_said(alice: Path, agent: Agent) -> None:
    error = refused(alice, "verify", "bob")
    assert isinstance(error, MisuseError)
    assert "call first" in str(error)


def test_without_a_running_agent_it_is_said(alice: Path) -> None:
    known(alice, "bob")
    error: BayonneError = refused(alice, "verify", "bob")
    assert isinstance(error, TransportUnavailable)


def test_undo_forgets_the_comparison_and_what_calls_went_on_from(alice: Path, agent: Agent) -> None:
    agent.talk()
    run(alice, "verify", "bob", "--yes")
    before = agent.state.read(ZIDS_FILE)
    result = call(alice, "verify", "bob", "--undo", typed="n\n")
    assert result.exit_code != 0
    assert "the next call is like the first one" in " ".join(result.stderr.lower().split())
    assert agent.state.read(ZIDS_FILE) == before
    assert row(alice)["verified"] != []
    assert call(alice, "verify", "bob", "--undo", typed="y\n").exception is None
    assert row(alice)["verified"] == []
    assert agent.contact.id.encode() not in (agent.state.read(ZIDS_FILE) or b"")


def test_undo_settles_an_alarm_without_an_agent_and_without_a_question(alice: Path) -> None:
    contact = known(alice, "bob")
    book_of(alice).judge(contact, lambda trust: trust.doubted(Doubt.DOWNGRADE, 2e9))
    assert "ALARM: less protection" in run(alice, "list")
    assert json.loads(run(alice, "verify", "bob", "--undo", "--yes", "--json")) == {
        "name": "bob",
        "verified": False,
    }
    assert "not verified" in run(alice, "list")


def test_an_openpgp_key_is_kept_with_the_contact(
    alice: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(tmp_path))
    known(alice, "bob")
    result = call(alice, "set-pgp", "bob", " ".join(("abab",) * 10))
    assert result.exception is None
    assert f"bob signs with {KEY}" in result.stdout
    assert "signing is off" in result.stderr
    assert "not in your GnuPG keyring" in result.stderr
    assert row(alice)["openpgp"] == KEY
    assert json.loads(run(alice, "set-pgp", "bob", "--none", "--json")) == {"name": "bob", "openpgp": ""}
    assert row(alice)["openpgp"] == ""


@pytest.mark.parametrize("arguments", [("bob",), ("bob", "ABCD1234"), ("bob", KEY, "--none"), ("carol", KEY)])
def test_what_names_no_key_or_nobody_is_refused(alice: Path, arguments: tuple[str, ...]) -> None:
    known(alice, "bob")
    assert isinstance(refused(alice, "set-pgp", *arguments), MisuseError)
    assert row(alice)["openpgp"] == ""

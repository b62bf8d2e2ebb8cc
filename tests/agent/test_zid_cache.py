"""The ZID cache on disk, under real exchanges: calls that broke off, agents that were killed, disks that were full."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from relay.agent.kept import Damaged, NotKept, PlainFiles
from relay.agent.voice_security import End
from relay.agent.zid_cache import OWN_PHONE, ZIDS_FILE, ZidCache
from relay.core import ConfigurationError, ManualClock, SeededEntropy, SystemEntropy
from relay.zrtp import AlarmKind, Continuity, Expectation, Retained, Settings, Strength
from tests.agent.vaults import new_vault
from tests.zrtp.pair import Pair, World

KEPT = Retained(b"1" * 32, Strength(256, 128, 128))
HERS = b"hers, of 12."


class Side:
    """One agent's cache, which can be killed and started anew."""

    def __init__(self, directory: Path, clock: ManualClock) -> None:
        self.state, self.clock = PlainFiles(directory), clock
        self.restart()

    def restart(self) -> None:
        self.cache = ZidCache(self.state, self.clock, SystemEntropy())

    @property
    def content(self) -> bytes | None:
        return self.state.read(ZIDS_FILE)

    def put_back(self, content: bytes | None) -> None:
        """As if what was written since had never reached the disk; the process is killed."""
        if content is None:
            self.state.remove(ZIDS_FILE)
        else:
            self.state.write(ZIDS_FILE, content)
        self.restart()


class People:
    """Alice and bob, contacts of each other, and their calls."""

    def __init__(self, directory: Path) -> None:
        self.world = World("zids")
        self.alice, self.bob = (Side(directory / name, self.world.clock) for name in ("alice", "bob"))

    def exchanges(self, settings: Settings | None = None) -> Pair:
        sides = self.alice, self.bob
        world = self.world if settings is None else self.world.with_settings(settings, settings)
        world.caches = (self.alice.cache, self.bob.cache)
        zids = (self.alice.cache.own("bob"), self.bob.cache.own("alice"))
        known = (sides[0].cache.peer("bob", End.AGENT), sides[1].cache.peer("alice", End.AGENT))
        alice, bob = world.exchanges(
            expectations=(Expectation(zid=known[0]), Expectation(zid=known[1])), zids=zids
        )
        return Pair(alice, bob)

    def call(self, settings: Settings | None = None) -> Pair:
        pair = self.exchanges(settings).run()
        if pair.alice.is_secured and pair.bob.is_secured:
            self.alice.cache.meet("bob", End.AGENT, pair.alice.secured.peer_zid)
            self.bob.cache.meet("alice", End.AGENT, pair.bob.secured.peer_zid)
        return pair


@pytest.fixture
def people(tmp_path: Path) -> People:
    return People(tmp_path)


def quiet(pair: Pair) -> list[Continuity]:
    """No alarm at either end; what each says of continuity."""
    assert [party.alarms for party in pair.parties] == [[], []]
    return [party.secured.continuity for party in pair.parties]


CONTINUED = [Continuity.CONTINUED] * 2


def test_calls_go_on_from_each_other_over_restarts(people: People) -> None:
    assert quiet(people.call()) == [Continuity.FIRST] * 2
    for _ in range(3):
        people.alice.restart()
        people.bob.restart()
        assert quiet(people.call()) == CONTINUED


def test_what_is_compared_once_stays_compared(people: People) -> None:
    pair = people.call()
    pair.alice.exchange.verify_sas()
    people.alice.restart()
    pair = people.call()
    assert quiet(pair) == CONTINUED
    assert (pair.alice.secured.verified, pair.bob.secured.verified) == (True, False)
    assert pair.bob.secured.peer_verified
    pair.alice.exchange.reject_sas()
    people.alice.restart()
    assert not people.call().alice.secured.verified


@pytest.mark.parametrize("loser", ["alice", "bob"])
def test_an_agent_that_was_killed_before_it_wrote_alarms_nobody(people: People, loser: str) -> None:
    people.call().alice.exchange.verify_sas()
    side: Side = getattr(people, loser)
    for _ in range(3):
        before = side.content
        assert quiet(people.call()) == CONTINUED
        # The one side has (new, old) now, the other (old, older): what both know is not what both have first.
        side.put_back(before)
        pair = people.call()
        assert quiet(pair) == CONTINUED
        assert pair.alice.secured.verified


def test_a_first_call_that_only_one_side_wrote_down_is_told(people: People) -> None:
    """Nothing in common, and one side knows it: RFC 6189 has no second secret to fall back to here."""
    before = people.bob.content
    people.call()
    people.bob.put_back(before)
    pair = people.exchanges().run()
    assert AlarmKind.OTHER_ZID in pair.alice.alarms, "bob's own ZID was drawn anew with the rest"
    assert pair.bob.alarms == []


def test_a_lost_cache_is_an_alarm_and_a_secret_of_two_calls_ago_too(people: People) -> None:
    people.call()
    old = people.bob.content
    people.call()
    people.call()
    people.bob.put_back(old)
    pair = people.call()
    assert AlarmKind.CACHE_MISMATCH in pair.alice.alarms
    assert AlarmKind.CACHE_MISMATCH in pair.bob.alarms


def test_past_what_both_agreed_on_it_is_no_alarm(people: People) -> None:
    short = Settings(expiration=3600)
    people.call(short).alice.exchange.verify_sas()
    people.world.clock.advance(3000)
    assert quiet(people.call(short)) == CONTINUED
    people.world.clock.advance(4000)
    # Both still have it: it may be used; it vouches for nothing where it is gone.
    people.bob.put_back(None)
    people.bob.cache.own("alice")
    pair = people.exchanges().run()
    assert AlarmKind.CACHE_MISMATCH not in pair.alice.alarms
    assert pair.alice.secured.continuity is Continuity.FIRST
    assert not pair.alice.secured.verified


def test_it_is_written_before_the_call_is_told_secure(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments: list[str] = []
    write = PlainFiles.write

    def noted(state: PlainFiles, name: str, content: bytes) -> None:
        moments.append("written")
        write(state, name, content)

    pair = people.exchanges()
    monkeypatch.setattr(PlainFiles, "write", noted)
    act = pair.act

    def seen(party: object, effects: list[object]) -> None:
        moments.extend("secure" for effect in effects if type(effect).__name__ == "Secured")
        act(party, effects)  # type: ignore[arg-type]

    monkeypatch.setattr(pair, "act", seen)
    pair.run()
    assert moments == ["written", "secure", "written", "secure"]


def test_contacts_have_nothing_of_ours_in_common(people: People) -> None:
    cache = people.alice.cache
    zids = [cache.own(contact) for contact in ("bob", "carol", OWN_PHONE)]
    assert len(set(zids)) == 3
    people.alice.restart()
    assert [people.alice.cache.own(contact) for contact in ("bob", "carol", OWN_PHONE)] == zids
    cache.keep(zids[0], HERS, KEPT, 0xFFFFFFFF)
    assert people.alice.cache.look_up(zids[0], HERS) == KEPT, "one file, two readers"
    assert people.alice.cache.look_up(zids[1], HERS) is None


def test_a_forgotten_contact_is_a_stranger_under_another_zid(people: People) -> None:
    people.call()
    before = people.alice.cache.own("bob")
    people.alice.cache.forget_contact("bob")
    assert people.alice.cache.own("bob") != before
    assert people.alice.cache.peer("bob", End.AGENT) == b""
    pair = people.call()
    assert pair.alice.alarms == []
    assert AlarmKind.OTHER_ZID in pair.bob.alarms


def test_whoever_is_no_contact_any_more_goes_and_our_phone_stays(people: People) -> None:
    cache = people.alice.cache
    for contact in ("bob", "carol", OWN_PHONE):
        cache.own(contact)
    phone, carol = cache.own_phone(), cache.own("carol")
    cache.keep_only(["carol"])
    content = people.alice.content
    cache.keep_only(["carol", "dave"])
    assert people.alice.content == content
    assert (cache.own_phone(), cache.own("carol")) == (phone, carol)
    assert b"bob" not in (content or b"")


def test_a_full_disk_ends_no_call(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    people.call()
    side = people.alice
    with monkeypatch.context() as patch:

        def full(state: PlainFiles, name: str, content: bytes) -> None:
            if state is side.state:
                raise NotKept("no space")
            write(state, name, content)

        write = PlainFiles.write
        patch.setattr(PlainFiles, "write", full)
        for _ in range(3):
            assert quiet(people.call()) == CONTINUED
    assert quiet(people.call()) == CONTINUED
    side.restart()
    assert quiet(people.call()) == CONTINUED, "what waited was written with the next change"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 40])
def test_a_damaged_file_is_named_and_neither_passed_over_nor_written_over(
    people: People, content: bytes
) -> None:
    people.call()
    side = people.alice
    side.state.write(ZIDS_FILE, content)
    assert quiet(people.call()) == CONTINUED, "a running agent goes on with what it read"
    assert side.content == content
    with pytest.raises(ConfigurationError, match="is damaged"):
        side.cache.forget_contact("bob")
    side.restart()
    with pytest.raises(ConfigurationError, match="is damaged"):
        side.cache.check()


_WRITER = """
import sys
from pathlib import Path
from relay.agent.kept import NotKept, PlainFiles
from relay.agent.voice_security import End, Zids
from relay.agent.zid_cache import ZidCache
from relay.core import SystemClock, SystemEntropy
from relay.zrtp import Retained, Strength

cache = ZidCache(PlainFiles(Path(sys.argv[1])), SystemClock(), SystemEntropy())
own = cache.own("bob")
for number in range(1 << 30):
    secret = number.to_bytes(32)
    cache.keep(own, b"hers, of 12.", Retained(secret, Strength(256, 128, 128), secret), 0xFFFFFFFF)
    if number == 20:
        print("going", flush=True)
"""


def test_a_kill_in_the_midst_of_writing_leaves_the_old_or_the_new(people: People) -> None:
    side = people.alice
    own = side.cache.own("bob")
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(side.state.path)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"going\n"
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        side.restart()
        found = side.cache.look_up(own, HERS)
        assert found is not None
        assert found.rs1 == found.rs2
        assert int.from_bytes(found.rs1) >= 20


def test_the_file_is_private_and_holds_no_name(people: People) -> None:
    people.call()
    path = people.alice.state.path / ZIDS_FILE
    assert path.stat().st_mode & 0o777 == 0o600


def test_entropy_is_what_was_handed_in(tmp_path: Path) -> None:
    zids = []
    for name in "ab":
        state = PlainFiles(tmp_path / name)
        zids.append(ZidCache(state, ManualClock(), SeededEntropy(1)).own("bob"))
    assert zids[0] == zids[1]


def test_a_part_of_the_vault_that_is_gone_is_no_beginning(tmp_path: Path) -> None:
    """Who takes it for one takes every stranger for the one from the last call, and writes over the traces."""
    files = new_vault(tmp_path)
    cache = ZidCache(files, ManualClock(), SystemEntropy())
    cache.check()
    cache.own("0a")
    (tmp_path / "vault" / files.vault.file_name(ZIDS_FILE)).unlink()
    with pytest.raises(Damaged, match="gone"):
        ZidCache(files, ManualClock(), SystemEntropy()).check()
    assert files.damaged()

"""What is kept of a contact's voice: doubts stay until the owner decides, comparisons count where they were made."""

import msgspec
import pytest

from relay.agent.voice_security import End, Mode
from relay.agent.voice_trust import (
    DAY,
    OF_ONE_CALL,
    SAID,
    Doubt,
    VoiceTrust,
    read_fingerprint,
)
from relay.core import MisuseError
from relay.zrtp import AlarmKind

NOW = 20_000.5 * DAY
AGENTS, WITH_PHONE = (End.AGENT, End.AGENT), (End.AGENT, End.PHONE)


def test_every_alarm_stays_or_is_of_one_call_and_can_be_said() -> None:
    kept = {doubt.value for doubt in Doubt}
    for kind in AlarmKind:
        assert (kind.value in kept) != (kind in OF_ONE_CALL)
    assert set(SAID) == set(Doubt)


def test_a_comparison_counts_between_the_ends_where_it_was_made() -> None:
    trust = VoiceTrust().compared(*AGENTS, NOW)
    found = trust.verified_between(*AGENTS)
    assert found is not None
    assert (found.mode, found.day, found.date) == (Mode.AGENTS, 20_000, "2024-10-04")
    assert trust.verified_between(*WITH_PHONE) is None
    assert trust.verified_between(End.PHONE, End.AGENT) is None
    both = trust.doubted(Doubt.OTHER_ENDS, NOW).compared(*WITH_PHONE, NOW)
    assert {one.mode for one in both.verified} == {Mode.AGENTS, Mode.PHONE_AGENT}
    assert both.alarm == ""
    assert len(both.compared(*WITH_PHONE, NOW + DAY).verified) == 2


def test_a_doubt_stays_with_its_first_day_until_words_are_compared() -> None:
    trust = VoiceTrust().compared(*AGENTS, NOW).compared(*WITH_PHONE, NOW)
    doubted = trust.doubted(Doubt.CACHE_MISMATCH, NOW)
    assert doubted.doubted(Doubt.CACHE_MISMATCH, NOW + 3 * DAY) == doubted
    assert SAID[Doubt.CACHE_MISMATCH] in doubted.alarm
    assert SAID[Doubt.OTHER_ZID] in doubted.doubted(Doubt.OTHER_ZID, NOW).alarm
    settled = doubted.compared(*AGENTS, NOW)
    assert settled.alarm == ""
    assert [one.mode for one in settled.verified] == [Mode.AGENTS], (
        "who was at the other ends is not known any more"
    )


def test_words_that_differ_take_back_what_was_compared_there() -> None:
    trust = VoiceTrust().compared(*AGENTS, NOW).compared(*WITH_PHONE, NOW).differed(*AGENTS, NOW)
    assert [one.mode for one in trust.verified] == [Mode.PHONE_AGENT]
    assert SAID[Doubt.WORDS_DIFFER] in trust.alarm


def test_what_the_owner_knows_of_begins_anew_but_for_the_openpgp_key() -> None:
    trust = VoiceTrust(pgp="A" * 40).compared(*AGENTS, NOW).doubted(Doubt.TAMPERED, NOW)
    assert trust.begun_anew() == VoiceTrust(pgp="A" * 40)


def test_another_openpgp_key_settles_what_was_doubted_of_the_last() -> None:
    trust = (
        VoiceTrust()
        .doubted(Doubt.PGP_OTHER_KEY, NOW)
        .doubted(Doubt.PGP_BAD, NOW)
        .doubted(Doubt.UNPROVEN, NOW)
    )
    changed = trust.with_pgp("B" * 40)
    assert (changed.pgp, [one.doubt for one in changed.doubts]) == ("B" * 40, [Doubt.UNPROVEN])


def test_all_of_it_comes_back_from_the_file() -> None:
    trust = VoiceTrust(pgp="C" * 40).compared(*AGENTS, NOW)
    for doubt in Doubt:
        trust = trust.doubted(doubt, NOW)
    content = msgspec.json.encode(trust)
    assert msgspec.json.decode(content, type=VoiceTrust) == trust
    assert str(int(NOW)).encode() not in content, "the day and no moment"


@pytest.mark.parametrize("text", ["ab" * 20, "AB" * 32, "0x" + "aB" * 20, "  abcd" * 10 + "\n"])
def test_fingerprints_as_people_write_them(text: str) -> None:
    digits = read_fingerprint(text)
    assert digits == digits.upper()
    assert len(digits) in (40, 64)
    assert read_fingerprint(digits) == digits


@pytest.mark.parametrize(
    "text", ["", "ABCD1234", "ABCD1234ABCD1234", "G" * 40, "A" * 41, "\u0661" * 40, "-" * 40]
)
def test_what_names_no_single_key_is_refused(text: str) -> None:
    with pytest.raises(MisuseError, match="fingerprint"):
        read_fingerprint(text)

"""Invitations: a codec that says one thing in one way, and bears what people and messengers do to it."""

import base64

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.identity import Identity, Invitation, InvitationKind
from relay.identity import invitation as module
from relay.identity.invitation import MOST_HOURS
from relay.wire import encode

onions = st.binary(min_size=35, max_size=35).map(lambda raw: base64.b32encode(raw).decode().lower())
invitations = st.builds(
    Invitation,
    st.sampled_from(InvitationKind),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
    st.lists(onions, min_size=1, max_size=4).map(tuple),
    st.integers(0, MOST_HOURS - 1),
)


def one(points: int = 1, expires: int = 0) -> Invitation:
    entropy = SeededEntropy(1)
    me = Identity.generate(entropy)
    return Invitation.generate(
        InvitationKind.ONCE, me.public_key, ("abcdefgh" * 7,) * points, expires, entropy
    )


@settings(deadline=None)
@given(invitations)
def test_round_trip_in_any_case(invitation: Invitation) -> None:
    text = invitation.format()
    assert text.startswith("bayonne:")
    assert Invitation.parse(text) == invitation
    assert Invitation.parse(f" {text.upper()}\n") == invitation


@pytest.mark.parametrize(
    "carried",
    [
        "  {}\r\n",
        "<{}>",
        "“{}”.",
        "({}),",
        "`{}`",
        "> {}",
        "\u200b{}\u200b",
        "\ufeff{}",
        "*{}*",
        "{}===",
        "{}/",
        "Please add me: {}",
        "Füge mich hinzu – {}. Danke!",
    ],
)
def test_what_messengers_add_does_not_matter(carried: str) -> None:
    invitation = one()
    assert Invitation.parse(carried.format(invitation.format())) == invitation


def test_nor_what_they_do_to_its_inside() -> None:
    invitation = one(2)
    text = invitation.format()
    wrapped = "\n".join(text[at : at + 40] for at in range(0, len(text), 40))
    assert Invitation.parse(wrapped) == invitation
    assert Invitation.parse("> " + wrapped.replace("\n", "\r\n> ")) == invitation
    assert Invitation.parse("\u200b".join(text)) == invitation
    assert Invitation.parse("\u00a0".join(text[at : at + 7] for at in range(0, len(text), 7))) == invitation
    assert Invitation.parse(text.replace("bayonne:", "bayonne://")) == invitation
    assert Invitation.parse(text.replace("bayonne:", "Bayonne:")) == invitation


def test_it_is_short() -> None:
    """Characters with one, two and four contact points: a message, or a code that a phone reads at arm's length."""
    assert [len(one(points, 500_000).format()) for points in (1, 2, 4)] == [172, 231, 349]


@settings(deadline=None)
@given(
    st.one_of(
        st.text(max_size=100),
        st.text("abcdefghijklmnopqrstuvwxyz234567", max_size=300).map("bayonne:".__add__),
    )
)
def test_arbitrary_text_is_a_peers_fault(text: str) -> None:
    with pytest.raises(PeerError):
        Invitation.parse(text)


@settings(deadline=None)
@given(invitations, st.data())
def test_a_changed_character_is_noticed(invitation: Invitation, data: st.DataObject) -> None:
    text = invitation.format()
    at = data.draw(st.integers(len("bayonne:"), len(text) - 1))
    other = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567").filter(lambda one: one != text[at]))
    with pytest.raises(PeerError):
        Invitation.parse(text[:at] + other + text[at + 1 :])


@settings(deadline=None)
@given(invitations, st.integers(1, 60))
def test_a_part_of_it_is_none(invitation: Invitation, missing: int) -> None:
    with pytest.raises(PeerError):
        Invitation.parse(invitation.format()[:-missing])


@settings(deadline=None)
@given(invitations, st.data())
def test_nothing_that_carriers_add_matters(invitation: Invitation, data: st.DataObject) -> None:
    within = st.text(" \t\r\n\u00a0\u200b\u200d\u2028\ufeff\u00ad>", max_size=3)
    around = st.text(" \n<>\"'`()[]{}«»“”‘’.,;!?*_|\u200b\ufeff", max_size=6)
    text = data.draw(st.sampled_from((str.upper, str.lower, str.title)))(invitation.format())
    parts = [text[at : at + 29] for at in range(0, len(text), 29)]
    inside = "".join(part + data.draw(within) for part in parts)
    assert Invitation.parse(data.draw(around) + inside + data.draw(around)) == invitation


pack = msgspec.msgpack.encode


def written(content: bytes) -> str:
    """An invitation with a right checksum, whatever it says."""
    body = base64.b32encode(content + module._checksum(content)).decode()
    return f"bayonne:{body.rstrip('=')}"


@pytest.mark.parametrize(
    "content",
    [
        [3, 1, bytes(32), bytes(16), 0, [bytes(35)]],
        [1, bytes(32), bytes(32), [bytes(35)]],  # as it was once
        [3, "and who knows what"],
    ],
)
def test_another_version_says_so_whatever_it_holds(content: list[object]) -> None:
    with pytest.raises(PeerError) as caught:
        Invitation.parse(written(pack(content)))
    assert caught.value.reason == "another version"


def test_a_damaged_one_says_something_else() -> None:
    text = one().format()
    reasons = set()
    for damaged in (text[:-1], text[:-9], text[:50] + text[51:], text.replace("bayonne", "bayone")):
        with pytest.raises(PeerError) as caught:
            Invitation.parse(damaged)
        reasons.add(caught.value.reason)
    assert reasons == {"bad invitation", "not an invitation"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x96\x02",
        b"\xdc\x02\x00",
        pack([2, 1, bytes(32), bytes(16), 0]),
        pack([2, 1, bytes(32), bytes(16), 0, [bytes(35)], 0]),
        pack([2, 1, bytes(32), bytes(16), -1, [bytes(35)]]),
        pack([2, 1, bytes(32), bytes(16), 2**64 - 1, [bytes(35)]]),
        pack([2, 1, bytes(32), bytes(16), 0, [bytes(34)]]),
        pack([2, 1, bytes(32), bytes(16), 0, [bytes(35)] * 5]),
        pack([2, 1, bytes(32), bytes(16), 0, [bytes(35)]]) + b"\0",
        # The same, with the point's length written in two bytes more.
        pack([2, 1, bytes(32), bytes(16), 0, []])[:-1] + b"\x91\xc5\x00\x23" + bytes(35),
    ],
)
def test_what_only_a_forger_writes_is_refused(content: bytes) -> None:
    with pytest.raises(PeerError):
        Invitation.parse(written(content))


def test_bits_to_spare_are_no_second_way_of_writing() -> None:
    text = one(1, 500_000).format()
    assert len(text.removeprefix("bayonne:")) % 8 == 4, "four bits to spare"
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    # What stands in the last bits of the last letter is part of nothing.
    for other in set(letters) - {text[-1]}:
        with pytest.raises(PeerError):
            Invitation.parse(text[:-1] + other)


@pytest.mark.parametrize(
    ("field", "value"),
    [("kind", 3), ("kind", 0), ("expires", MOST_HOURS), ("secret", b"x" * 17), ("contact_points", ())],
)
def test_well_formed_nonsense_is_refused(field: str, value: object) -> None:
    whole = one()
    points = tuple(module._onion_bytes(point) for point in whole.contact_points)
    content = module._Content(2, 1, whole.inviter_public_key, whole.secret, 0, points)
    with pytest.raises(PeerError):
        Invitation.parse(written(encode(msgspec.structs.replace(content, **{field: value}))))


def test_expiry() -> None:
    assert not one().expired(1e12)
    invitation = one(expires=500_000)
    assert not invitation.expired(500_000 * 3600 - 1)
    assert invitation.expired(500_000 * 3600)


def test_each_has_its_own_secret_and_id() -> None:
    entropy = SeededEntropy(2)
    made = [
        Invitation.generate(InvitationKind.STANDING, bytes(32), ("a" * 56,), 0, entropy) for _ in range(20)
    ]
    assert len({each.record_secret for each in made}) == len({each.id for each in made}) == 20
    assert all(len(each.record_secret) == 32 and each.secret not in each.record_secret for each in made)


@pytest.mark.parametrize(
    "points", [(), ("a" * 56,) * 5, ("short",), ("a" * 55 + "1",)], ids=["none", "five", "short", "bad"]
)
def test_misuse_is_told(points: tuple[str, ...]) -> None:
    with pytest.raises(MisuseError):
        Invitation(InvitationKind.ONCE, bytes(32), bytes(16), points).format()
    with pytest.raises(MisuseError):
        Invitation(InvitationKind.ONCE, bytes(31), bytes(16), ("a" * 56,)).format()


def test_nothing_of_it_is_shown() -> None:
    shown = repr(one())
    assert "abcdefgh" not in shown
    assert repr(one().secret) not in shown

"""What the ZID cache holds: every change comes back as it went, and what is malformed is refused whole."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import wire
from relay.agent.zid_table import (
    AFTER_EXPIRY,
    MOST_BYTES,
    MOST_OF_A_CONTACT,
    MOST_OWN,
    VERSION,
    ZidTable,
    _Met,
    _Own,
    _Peer,
    _Zids,
)
from relay.core import MisuseError, PeerError
from relay.zrtp import Retained, Strength

NOW = 1_800_000_000
STRENGTH = Strength(256, 128, 128)
OURS, HERS = b"our own zid.", b"hers, of 12."
KEPT = Retained(b"1" * 32, STRENGTH)
_ids, _zids = st.sampled_from(["ab", "cd", "ef"]), st.binary(min_size=12, max_size=12)
_secrets = st.binary(min_size=32, max_size=32)
_retained = st.builds(
    Retained,
    _secrets,
    st.builds(Strength, st.integers(0, 512), st.integers(0, 256), st.integers(0, 256)),
    st.one_of(st.just(b""), _secrets),
    verified=st.booleans(),
    preshared_uses=st.integers(0, 9),
)


def again(table: ZidTable) -> ZidTable:
    content = table.to_bytes(NOW)
    read = ZidTable.from_bytes(content)
    assert read.to_bytes(NOW) == content
    return read


def filled() -> ZidTable:
    table = ZidTable()
    table.add("ab", OURS)
    table.put(OURS, HERS, KEPT, None)
    return table


@given(
    st.lists(st.tuples(_ids, _zids, _retained, st.one_of(st.none(), st.integers(NOW, 2 * NOW))), max_size=20)
)
def test_whatever_is_put_is_found_after_it_was_written_and_read(
    puts: list[tuple[str, bytes, Retained, int | None]],
) -> None:
    table = ZidTable()
    for contact, zid, retained, until in puts:
        own = contact.encode() * 6
        table.add(contact, own)
        table.put(own, zid, retained, until)
        table.meet(contact, own, "agents", zid)
        for one in (table, again(table)):
            assert one.met(contact, "agents") == zid
            assert one.own(contact) == own
            if (found := one.find(own, zid)) is not None:
                assert found == (retained, until)
            else:
                assert not retained.verified, "room is made for whoever was verified"


def test_a_contact_with_ever_new_zids_pushes_out_its_own_and_never_the_verified() -> None:
    table = filled()
    table.put(OURS, HERS, KEPT.as_verified(), None)
    table.add("cd", b"another own.")
    table.put(b"another own.", HERS, KEPT, None)
    for number in range(50):
        table.put(OURS, number.to_bytes(12), KEPT, None)
    assert table.find(OURS, HERS) is not None
    assert table.find(b"another own.", HERS) is not None
    assert [table.find(OURS, n.to_bytes(12)) is not None for n in (46, 47, 48, 49)] == [
        False,
        True,
        True,
        True,
    ]
    for number in range(60, 60 + MOST_OF_A_CONTACT):
        table.put(OURS, number.to_bytes(12), KEPT.as_verified(), None)
    table.put(OURS, bytes(12), KEPT, None)
    assert table.find(OURS, bytes(12)) is None
    assert table.find(OURS, (63).to_bytes(12)) is not None


def test_nothing_comes_back_of_a_contact_that_is_gone() -> None:
    table = filled()
    table.forget("ab")
    table.forget("ab")
    table.put(OURS, HERS, KEPT, None)
    assert table.to_bytes(NOW) == ZidTable().to_bytes(NOW)
    table = filled()
    table.add("cd", b"another own.")
    table.keep_only({"cd", "zz"})
    assert table.contacts() == {"cd"}


def test_what_expired_stays_for_a_while_and_goes() -> None:
    table = filled()
    table.put(OURS, HERS, KEPT, NOW)
    table.to_bytes(NOW + AFTER_EXPIRY - 1)
    assert table.find(OURS, HERS) == (KEPT, NOW)
    table.to_bytes(NOW + AFTER_EXPIRY)
    assert table.find(OURS, HERS) is None
    assert table.own("ab") == OURS


def test_the_most_there_can_be_fits() -> None:
    table = ZidTable()
    longest = Retained(b"1" * 32, Strength(512, 256, 384), b"2" * 32, verified=True, preshared_uses=1000)
    for number in range(MOST_OWN):
        own = number.to_bytes(12)
        table.add(f"{number:08x}", own)
        for peer in range(MOST_OF_A_CONTACT):
            table.put(own, peer.to_bytes(12), longest, 2**40)
            table.meet(f"{number:08x}", own, f"ends-{peer}", peer.to_bytes(12))
    assert len(table.to_bytes(NOW)) < MOST_BYTES
    again(table)
    table.add("00000000", bytes(12))
    with pytest.raises(MisuseError, match="too many"):
        table.add("one more", b"x" * 12)


PEER = _Peer.of(HERS, KEPT, None)
OWN = _Own("ab", OURS, (_Met("agents", HERS),), (PEER,))


def changed(one: msgspec.Struct, **changes: object) -> bytes:
    own = OWN
    if isinstance(one, _Peer):
        own = msgspec.structs.replace(OWN, peers=(msgspec.structs.replace(one, **changes),))
    elif isinstance(one, _Met):
        own = msgspec.structs.replace(OWN, met=(msgspec.structs.replace(one, **changes),))
    else:
        own = msgspec.structs.replace(OWN, **changes)
    return wire.encode(_Zids(VERSION, (own,)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        wire.encode(_Zids(VERSION + 1, ())),
        wire.encode(_Zids(VERSION, (OWN, OWN))),
        wire.encode(_Zids(VERSION, (OWN, msgspec.structs.replace(OWN, contact_id="cd")))),
        changed(OWN, contact_id=""),
        changed(OWN, contact_id="x" * 65),
        changed(OWN, zid=bytes(11)),
        changed(OWN, peers=(PEER, PEER)),
        changed(OWN, peers=tuple(_Peer.of(bytes((n,)) * 12, KEPT, None) for n in range(5))),
        changed(OWN, met=(_Met("agents", HERS), _Met("agents", HERS))),
        changed(_Met("agents", HERS), zid=bytes(13)),
        changed(_Met("agents", HERS), ends=""),
        changed(PEER, zid=bytes(13)),
        changed(PEER, rs1=bytes(31)),
        changed(PEER, rs1=b""),
        changed(PEER, rs2=bytes(31)),
        changed(PEER, until=-1),
        changed(PEER, preshared_uses=-1),
        changed(OWN) + b"\x00",
    ],
)
def test_what_is_malformed_is_refused_whole(content: bytes) -> None:
    with pytest.raises(PeerError):
        ZidTable.from_bytes(content)


def test_what_is_not_malformed_is_not_refused() -> None:
    assert ZidTable.from_bytes(changed(OWN)).find(OURS, HERS) == (KEPT, None)
    for secret in (b"1" * 32, HERS, OURS):
        assert secret.decode() not in repr((PEER, OWN))

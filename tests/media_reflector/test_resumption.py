"""Tickets without a table: hourly keys, single use, a restart, the keys that peers left."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy
from relay.media_reflector import resumption
from relay.media_reflector.forwarding.face import MAX_CHECK_KEYS
from relay.media_reflector.resumption import (
    KEY_LIFETIME,
    KEY_PERIOD,
    MAX_BACKUP_PEERS,
    OWN_KEYS,
    BackupMint,
    TicketKeys,
)
from relay.media_reflector.tickets import TicketKind

PEER = b"p" * 32
KEY = bytes(range(32))


def _keys(now: float = 0.0) -> TicketKeys:
    keys = TicketKeys(SeededEntropy("keys"))
    assert keys.renew(now)
    return keys


def test_a_ticket_is_found_by_its_number() -> None:
    keys = _keys()
    ticket = keys.mint(10.0)
    assert ticket.kind is TicketKind.RESUMPTION
    assert keys.find(ticket.id, 20.0) == ticket
    assert ticket.expires == KEY_LIFETIME


def test_it_dies_with_its_key() -> None:
    keys = _keys()
    ticket = keys.mint(0.0)
    assert keys.renew(KEY_PERIOD)
    later = keys.mint(KEY_PERIOD)
    assert not keys.renew(KEY_LIFETIME - 1)
    assert keys.find(ticket.id, KEY_LIFETIME - 1) is not None
    assert keys.find(ticket.id, KEY_LIFETIME) is None
    keys.renew(KEY_LIFETIME)
    assert keys.find(ticket.id, 1.0) is None, "nobody has its key any more"
    assert keys.find(later.id, KEY_LIFETIME) == later


def test_it_opens_once() -> None:
    keys = _keys()
    ticket = keys.mint(0.0)
    assert keys.use(ticket.id)
    assert keys.find(ticket.id, 1.0) is None
    assert not keys.use(ticket.id)


def test_a_restart_with_the_keys_honours_what_was_not_used() -> None:
    keys = _keys()
    used, unused = keys.mint(0.0), keys.mint(0.0)
    keys.leave(PEER, KEY, 5.0)
    backup = BackupMint(KEY, b"i" * 32, SeededEntropy("mint"), 5.0).ticket(6.0)
    assert backup is not None
    keys.use(used.id)
    again = TicketKeys(SeededEntropy("another process"))
    assert again.restore(keys.save())
    assert not again.renew(30.0), "a restart is no reason for a new key"
    assert again.find(unused.id, 30.0) == unused
    assert again.find(used.id, 30.0) is None
    found = again.find(backup.id, 30.0)
    assert found is not None
    assert (found.secret, found.peer) == (backup.secret, PEER)
    assert again.check_keys == keys.check_keys
    assert again.save() == keys.save()
    again.renew(KEY_LIFETIME)
    assert again.find(unused.id, KEY_LIFETIME) is None


def test_keys_of_another_boot_are_dropped() -> None:
    again = TicketKeys(SeededEntropy("another boot"))
    ticket = _keys(1_000_000.0).mint(1_000_000.0)
    assert again.restore(_keys(1_000_000.0).save())
    assert again.find(ticket.id, 5.0) is None
    assert again.renew(5.0)
    assert again.find(ticket.id, 1_000_000.0) is None


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_what_cannot_be_read_changes_nothing(data: bytes) -> None:
    keys = _keys()
    ticket = keys.mint(0.0)
    assert not keys.restore(data)
    assert keys.find(ticket.id, 1.0) == ticket


def test_used_numbers_that_are_cut_short_are_not_read_as_others() -> None:
    keys = _keys()
    keys.use(keys.mint(0.0).id)
    version, saved = msgspec.msgpack.decode(keys.save())
    saved[0][3] = saved[0][3][:-1]
    assert not _keys().restore(msgspec.msgpack.encode([version, saved]))


def test_damaged_keys_are_never_taken_for_others() -> None:
    keys = _keys()
    saved = keys.save()
    for position in range(len(saved)):
        for cut in (saved[:position], saved[:position] + b"\xff" + saved[position + 1 :]):
            again = TicketKeys(SeededEntropy(1))
            if again.restore(cut):
                again.renew(1.0)
                assert len(again.mint(1.0).secret) == 32


def test_nothing_is_minted_without_a_key() -> None:
    with pytest.raises(MisuseError):
        TicketKeys(SeededEntropy(1)).mint(0.0)


def test_a_backup_ticket_opens_where_its_key_was_left() -> None:
    keys = _keys()
    keys.leave(PEER, KEY, 100.5)
    mint = BackupMint(KEY, b"i" * 32, SeededEntropy("mint"), 100.0)
    ticket = mint.ticket(200.0)
    assert ticket is not None
    assert ticket.kind is TicketKind.BACKUP
    found = keys.find(ticket.id, 300.0)
    assert found is not None
    assert (found.kind, found.peer, found.secret) == (TicketKind.BACKUP, PEER, ticket.secret)
    assert ticket.expires < found.expires, "who makes tickets never promises more than there is"
    assert mint.ticket(mint.expires) is None


def test_only_the_newest_two_keys_of_a_peer_count() -> None:
    keys = _keys()
    tickets = []
    for number in range(3):
        key = bytes([number]) * 32
        keys.leave(PEER, key, number)
        tickets.append(BackupMint(key, b"i" * 32, SeededEntropy(number), number).ticket(number))
    found = [ticket is not None and keys.find(ticket.id, 10.0) is not None for ticket in tickets]
    assert found == [False, True, True]


def test_a_key_is_one_peers_and_left_again_it_stays_what_it_was() -> None:
    keys = _keys()
    keys.leave(PEER, bytes(32), 0.0)
    keys.leave(PEER, KEY, 1.0)
    for now in (2.0, 3.0):
        keys.leave(PEER, KEY, now)
    ticket = BackupMint(bytes(32), b"i" * 32, SeededEntropy("mint"), 0.0).ticket(4.0)
    assert ticket is not None
    assert keys.find(ticket.id, 5.0) is not None, "the key before was not pushed out"
    ticket = BackupMint(KEY, b"i" * 32, SeededEntropy("mint"), 1.0).ticket(4.0)
    assert ticket is not None
    found = keys.find(ticket.id, 5.0)
    assert found is not None
    assert found.expires == 1.0 + KEY_LIFETIME, "nor does it live longer"
    with pytest.raises(PeerError, match="twice"):
        keys.leave(b"q" * 32, KEY, 1.0)


def test_peers_keys_are_forgotten_after_two_hours_or_with_the_peer() -> None:
    keys = _keys()
    keys.leave(PEER, KEY, 0.0)
    keys.leave(b"q" * 32, bytes(32), 0.0)
    before = len(keys.check_keys[1])
    keys.keep_peers([PEER])
    assert len(keys.check_keys[1]) == before - 1
    assert keys.renew(KEY_LIFETIME)
    ticket = BackupMint(KEY, b"i" * 32, SeededEntropy(1), 0.0).ticket(1.0)
    assert ticket is not None
    assert keys.find(ticket.id, 1.0) is None


def test_there_are_never_more_check_keys_than_the_data_plane_takes() -> None:
    keys = _keys()
    peers = 0
    for number in range(40):
        peer = bytes([number]) * 32
        if not keys.has_room(peer):
            continue
        peers += 1
        for half in range(3):
            keys.leave(peer, bytes([number, half]) * 16, 0.0)
    assert peers == MAX_BACKUP_PEERS
    assert keys.has_room(bytes(32)), "who has a key here may leave the next"
    keys.renew(KEY_PERIOD)
    own, left = keys.check_keys
    assert len(own) == 2
    assert OWN_KEYS + len(left) == MAX_CHECK_KEYS


def test_whoever_uses_many_tickets_makes_none_of_the_others_void(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumption, "MAX_USED", 3)
    keys = _keys()
    for _ in range(3):
        honest = keys.mint(0.0)
        greedy = [keys.mint(0.0) for _ in range(3)]
        assert all(keys.use(ticket.id) for ticket in greedy)
        assert keys.find(honest.id, 1.0) == honest
        assert keys.renew(1.0), "the next key begins early"
        assert keys.find(honest.id, 1.0) == honest
        later = keys.mint(1.0)
        assert not keys._own[-2].sealing.made(later.id)
        assert keys.use(honest.id)


def test_there_are_never_more_own_keys_than_the_data_plane_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resumption, "MAX_USED", 1)
    keys = _keys()
    for number in range(10):
        assert keys.use(keys.mint(number).id)
        keys.renew(number)
        assert len(keys._own) <= OWN_KEYS
    assert len(keys._own) == OWN_KEYS


def test_a_peers_key_of_which_too_many_were_used_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumption, "MAX_USED", 3)
    keys = _keys()
    keys.leave(PEER, KEY, 0.0)
    mint = BackupMint(KEY, b"i" * 32, SeededEntropy("mint"), 0.0)
    tickets = [mint.ticket(0.0) for _ in range(5)]
    opened = [one for one in tickets if one and keys.find(one.id, 1.0) and keys.use(one.id)]
    assert len(opened) == 3


@pytest.mark.parametrize("restarted", [False, True])
def test_a_ticket_that_was_made_void_opens_nothing(restarted: bool) -> None:
    keys = _keys()
    ticket, other = keys.mint(0.0), keys.mint(0.0)
    if restarted:
        saved, keys = keys.save(), TicketKeys(SeededEntropy("another process"))
        assert keys.restore(saved)
    keys.void(ticket.id)
    keys.void(bytes(16))
    assert keys.find(ticket.id, 1.0) is None
    assert not keys.use(ticket.id)
    assert keys.find(other.id, 1.0) == other


def test_voiding_leaves_nothing_behind() -> None:
    """Lines come and go all day; only what was used has to be remembered."""
    keys = _keys()
    for _ in range(50):
        keys.void(keys.mint(0.0).id)
    assert not keys._own[-1].used
    assert not keys._own[-1].out


def test_a_backup_ticket_can_be_handed_out_again_while_its_key_is_the_present_one() -> None:
    mint = BackupMint(KEY, b"i" * 32, SeededEntropy("mint"), 0.0)
    first = mint.ticket(1.0)
    assert first is not None
    assert mint.ticket(2.0, first.id) == first
    other = BackupMint(bytes(32), b"i" * 32, SeededEntropy("other"), 0.0)
    fresh = other.ticket(2.0, first.id)
    assert fresh is not None
    assert fresh.id != first.id


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["mint", "use", "pass", "restart"]), max_size=60))
def test_whatever_happens_a_ticket_opens_at_most_once_and_never_late(steps: list[str]) -> None:
    entropy = SeededEntropy("steps")
    now, keys = 0.0, TicketKeys(entropy)
    keys.renew(now)
    out: list[tuple[bytes, float]] = []
    used: set[bytes] = set()
    for step in steps:
        match step:
            case "mint":
                ticket = keys.mint(now)
                assert KEY_PERIOD < ticket.expires - now < KEY_LIFETIME + 0.001
                out.append((ticket.id, ticket.expires))
            case "use" if out:
                number, expires = out[entropy.below(len(out))]
                found = keys.find(number, now)
                assert (found is not None) == (number not in used and now < expires)
                if found is not None:
                    assert keys.use(number)
                    used.add(number)
            case "restart":
                saved, keys = keys.save(), TicketKeys(entropy)
                assert keys.restore(saved)
            case _:
                now += entropy.uniform(1.0, 2000.0)
        keys.renew(now)
        assert len(keys.check_keys[0]) <= 2

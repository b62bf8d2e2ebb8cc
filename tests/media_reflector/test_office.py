"""The ticket office: sealed, single use, short-lived, capped; one answer for whoever gets nothing."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import ManualClock, MisuseError, PeerError, SeededEntropy
from relay.media_reflector.descriptor import ReflectorReference, verify_descriptor
from relay.media_reflector.forwarding.face import Stranger
from relay.media_reflector.forwarding.twin import PlainForwarding
from relay.media_reflector.keys import ReflectorKeys
from relay.media_reflector.office import MAX_TRUNK_TICKETS, TicketOffice
from relay.media_reflector.resumption import KEY_LIFETIME, KEY_PERIOD, MAX_BACKUP_PEERS, BackupMint
from relay.media_reflector.ticket_messages import (
    ANSWER_SIZE,
    LATEST_MOMENT,
    REQUEST_SIZE,
    SOONEST_MOMENT,
    ComeAgainLater,
    Request,
    RequestKind,
    descriptor_request,
    parse_answer,
    peer_request,
    ticket_request,
)
from relay.media_reflector.tickets import LIFETIME, Ticket, TicketKind
from relay.rtp.cell import CELL_SIZE
from relay.wire import encode, pad

ENTROPY = SeededEntropy("office")
KEYS = ReflectorKeys.generate(ENTROPY)
PEER = ReflectorKeys.generate(ENTROPY)
ONION = "a" * 56
WALL = 1_800_000_000.0
SIGNED = KEYS.signed_descriptor(ONION, [("192.0.2.1", 7210)], WALL, capacity=100)
DESCRIPTOR = verify_descriptor(SIGNED, ReflectorReference(ONION, KEYS.public_identity), WALL)
BACKUP_KEY = bytes(range(32))


class Gate:
    """What the office told the data plane."""

    def __init__(self) -> None:
        self.permitted: set[bytes] = set()
        self.keys: list[bytes] = []

    def permit(self, ticket_id: bytes) -> None:
        self.permitted.add(ticket_id)

    def forbid(self, ticket_id: bytes) -> None:
        self.permitted.discard(ticket_id)

    def check_keys(self, own: Sequence[bytes], left: Sequence[bytes]) -> None:
        self.keys = [*own, *left]


def _office(capacity: int = 10, gate: Gate | None = None, seed: int = 1) -> TicketOffice:
    return KEYS.office(capacity, SeededEntropy(seed), gate or Gate())


def _ask(office: TicketOffice, request: bytes, now: float = 0.0) -> bytes:
    answer = office.answer(request, lambda: SIGNED, now)
    assert len(answer) == ANSWER_SIZE
    return answer


def _issue(office: TicketOffice, now: float) -> Ticket:
    request, secret = ticket_request(DESCRIPTOR, ENTROPY)
    assert parse_answer(_ask(office, request, now)).seconds == LIFETIME
    return Ticket.fresh(secret, now + LIFETIME)


def _from_peer(kind: RequestKind, secret: bytes = BACKUP_KEY, keys: ReflectorKeys = PEER) -> bytes:
    return peer_request(kind, secret, DESCRIPTOR, keys.identity_key)


def test_both_sides_have_the_same_ticket_and_nobody_sent_its_number() -> None:
    gate = Gate()
    office = _office(gate=gate)
    request, secret = ticket_request(DESCRIPTOR, ENTROPY)
    answer = _ask(office, request)
    ticket = Ticket.fresh(secret, LIFETIME)
    assert office.find(ticket.id, 1.0) == ticket
    assert ticket.id not in request + answer
    assert secret not in request + answer
    assert gate.permitted == {ticket.id}


def test_the_descriptor_is_there_for_everybody() -> None:
    office = _office()
    office.draining = True
    assert parse_answer(_ask(office, descriptor_request())).data == SIGNED


def test_a_ticket_is_used_once_and_the_gate_is_left_to_whoever_opens_the_line() -> None:
    gate = Gate()
    office = _office(gate=gate)
    ticket = _issue(office, 0.0)
    office.use(ticket.id, 0.5)
    assert office.find(ticket.id, 1.0) is None
    assert gate.permitted == {ticket.id}
    with pytest.raises(MisuseError):
        office.use(ticket.id, 1.0)


def test_a_ticket_lives_ten_minutes() -> None:
    gate = Gate()
    office = _office(gate=gate)
    ticket = _issue(office, 0.0)
    assert office.find(ticket.id, LIFETIME - 0.1) is not None
    assert office.find(ticket.id, LIFETIME) is None
    office.expire(LIFETIME)
    assert len(office) == 0
    assert gate.permitted == set()
    assert office.counters["tickets_expired"] == 1


def test_the_cap_holds_until_tickets_ran_out_or_it_is_raised() -> None:
    office = _office(3)
    for _ in range(3):
        _issue(office, 0.0)
    with pytest.raises(ComeAgainLater):
        _issue(office, 1.0)
    assert len(office) == 3
    office.capacity = 4
    _issue(office, 1.0)
    _issue(office, LIFETIME + 1)
    assert len(office) == 1


def test_the_same_request_twice_is_refused() -> None:
    office = _office()
    request, _ = ticket_request(DESCRIPTOR, ENTROPY)
    _ask(office, request)
    with pytest.raises(PeerError, match="twice"):
        _ask(office, request)
    assert office.counters["bad_request"] == 1


def test_a_request_sealed_to_another_reflector_is_refused() -> None:
    with pytest.raises(PeerError, match="not sealed"):
        _ask(PEER.office(10, ENTROPY, Gate()), ticket_request(DESCRIPTOR, ENTROPY)[0])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=REQUEST_SIZE) | st.binary(max_size=1200).map(lambda d: pad(d, REQUEST_SIZE)))
def test_noise_raises_only_the_peers_fault(data: bytes) -> None:
    office = _office()
    with pytest.raises(PeerError):
        _ask(office, data)
    assert len(office) == 0


@settings(max_examples=100, deadline=None)
@given(
    kind=st.integers(0, 6),
    sealed=st.binary(max_size=1200),
    peer=st.binary(max_size=40) | st.just(PEER.public_identity),
    signature=st.binary(max_size=70),
)
def test_no_request_opens_anything_by_chance(kind: int, sealed: bytes, peer: bytes, signature: bytes) -> None:
    gate = Gate()
    office = _office(gate=gate)
    office.expire(0.0)
    office.accept_peers([PEER.public_identity])
    before = list(gate.keys)
    try:
        answer = parse_answer(_ask(office, pad(encode(Request(kind, sealed, peer, signature)), REQUEST_SIZE)))
        assert answer.data == SIGNED
    except (PeerError, ComeAgainLater):
        pass
    assert gate.permitted == set()
    assert gate.keys == before


# Whoever gets nothing.


def _refusals() -> list[bytes]:
    """Answers of offices that differ in nothing but the reason, each as the first one of the same seed."""
    full = _office(1)
    _issue(full, 0.0)
    draining = _office()
    draining.draining = True
    both = _office(0)
    both.draining = True
    stranger = _office()
    request = ticket_request(DESCRIPTOR, ENTROPY)[0]
    answers = []
    for office in (full, draining, both):
        # The resumption key is made on the first call, from the same chance.
        office.expire(0.0)
        answers.append(_ask(office, request, 1.0))
    stranger.expire(0.0)
    answers.append(_ask(stranger, _from_peer(RequestKind.BACKUP_KEY), 1.0))
    return answers


def test_a_refusal_is_the_same_whatever_the_reason() -> None:
    answers = _refusals()
    assert len(set(answers)) == 1
    with pytest.raises(ComeAgainLater) as refusal:
        parse_answer(answers[0])
    assert SOONEST_MOMENT <= refusal.value.seconds <= LATEST_MOMENT


def test_the_moments_are_spread() -> None:
    office = _office(0)
    moments = []
    for _ in range(400):
        with pytest.raises(ComeAgainLater) as refusal:
            parse_answer(_ask(office, ticket_request(DESCRIPTOR, ENTROPY)[0]))
        moments.append(refusal.value.seconds)
    assert len(set(moments)) > 60
    assert (min(moments), max(moments)) >= (SOONEST_MOMENT, SOONEST_MOMENT)
    assert max(moments) <= LATEST_MOMENT
    assert office.counters["request_refused"] == 400


def test_a_full_office_opens_nothing_that_it_will_not_take() -> None:
    office = _office(0)
    with pytest.raises(ComeAgainLater):
        parse_answer(_ask(office, pad(encode(Request(2, b"garbage", b"", b"")), REQUEST_SIZE)))


# Other reflectors.


def test_a_backup_key_is_taken_from_an_accepted_peer_only() -> None:
    gate = Gate()
    office = _office(gate=gate)
    with pytest.raises(ComeAgainLater):
        parse_answer(_ask(office, _from_peer(RequestKind.BACKUP_KEY)))
    assert office.counters["not_a_peer"] == 1
    office.accept_peers([PEER.public_identity])
    before = len(gate.keys)
    answer = parse_answer(_ask(office, _from_peer(RequestKind.BACKUP_KEY)))
    assert answer.seconds == KEY_LIFETIME
    assert len(gate.keys) == before + 1
    ticket = BackupMint(BACKUP_KEY, KEYS.public_identity, ENTROPY, 0.0).ticket(1.0)
    assert ticket is not None
    found = office.find(ticket.id, 1.0)
    assert found is not None
    assert (found.kind, found.peer, found.secret) == (
        TicketKind.BACKUP,
        PEER.public_identity,
        ticket.secret,
    )
    office.use(ticket.id, 1.0)
    assert office.find(ticket.id, 1.0) is None


def test_who_is_no_peer_any_more_has_nothing_here() -> None:
    gate = Gate()
    office = _office(gate=gate)
    office.accept_peers([PEER.public_identity])
    _ask(office, _from_peer(RequestKind.BACKUP_KEY))
    _ask(office, _from_peer(RequestKind.TRUNK_TICKET, bytes(32)))
    assert len(gate.permitted) == 1
    ticket = BackupMint(BACKUP_KEY, KEYS.public_identity, ENTROPY, 0.0).ticket(1.0)
    assert ticket is not None
    office.accept_peers([])
    assert office.find(ticket.id, 1.0) is None
    assert gate.permitted == set()
    assert len(gate.keys) == 1, "our own"


def test_restored_backup_keys_of_others_than_peers_open_nothing() -> None:
    office = _office()
    office.accept_peers([PEER.public_identity])
    _ask(office, _from_peer(RequestKind.BACKUP_KEY))
    again = _office(seed=2)
    assert again.restore(office.sealing_keys())
    ticket = BackupMint(BACKUP_KEY, KEYS.public_identity, ENTROPY, 0.0).ticket(1.0)
    assert ticket is not None
    assert again.find(ticket.id, 1.0) is None


@pytest.mark.parametrize("kind", [RequestKind.BACKUP_KEY, RequestKind.TRUNK_TICKET])
def test_a_peers_request_is_signed_by_that_peer(kind: RequestKind) -> None:
    office = _office()
    office.accept_peers([PEER.public_identity])
    other = ReflectorKeys.generate(SeededEntropy("other"))
    forged = Request(kind, b"", PEER.public_identity, other.identity_key.sign(b"x"))
    with pytest.raises(PeerError, match="signature"):
        _ask(office, pad(encode(forged), REQUEST_SIZE))


def test_peers_beyond_those_that_fit_are_told_another_moment() -> None:
    office = _office()
    peers = [ReflectorKeys.generate(SeededEntropy(number)) for number in range(MAX_BACKUP_PEERS + 1)]
    office.accept_peers([peer.public_identity for peer in peers])
    for number, peer in enumerate(peers[:-1]):
        parse_answer(_ask(office, _from_peer(RequestKind.BACKUP_KEY, bytes([number]) * 32, peer)))
    with pytest.raises(ComeAgainLater):
        parse_answer(_ask(office, _from_peer(RequestKind.BACKUP_KEY, bytes(32), peers[-1])))


def test_trunk_tickets_are_few_and_do_not_take_the_agents_place() -> None:
    office = _office(1)
    office.accept_peers([PEER.public_identity])
    for number in range(MAX_TRUNK_TICKETS):
        secret = bytes([number]) * 32
        assert parse_answer(_ask(office, _from_peer(RequestKind.TRUNK_TICKET, secret))).seconds == LIFETIME
        ticket = Ticket.fresh(secret, LIFETIME, TicketKind.TRUNK, PEER.public_identity)
        assert office.find(ticket.id, 1.0) == ticket
    with pytest.raises(ComeAgainLater):
        parse_answer(_ask(office, _from_peer(RequestKind.TRUNK_TICKET, b"x" * 32)))
    _issue(office, 1.0)
    office.use(ticket.id, 1.0)
    assert office.find(ticket.id, 1.0) is None
    office.expire(LIFETIME)
    assert office.find(Ticket.fresh(bytes(32), 0.0).id, 1.0) is None


def test_a_draining_office_gives_peers_nothing_either() -> None:
    office = _office()
    office.accept_peers([PEER.public_identity])
    office.draining = True
    for kind in (RequestKind.BACKUP_KEY, RequestKind.TRUNK_TICKET):
        with pytest.raises(ComeAgainLater):
            parse_answer(_ask(office, _from_peer(kind)))


# Resumption.


def test_a_resumption_ticket_survives_a_restart_opens_once_and_dies_with_its_key() -> None:
    office = _office()
    tickets = [office.resumption(0.0) for _ in range(2)]
    office.use(tickets[0].id, 1.0)
    gate = Gate()
    again = _office(gate=gate, seed=2)
    assert again.restore(office.sealing_keys())
    assert len(gate.keys) == 1
    again.expire(10.0)
    assert again.find(tickets[0].id, 10.0) is None, "it was used before the restart"
    assert again.find(tickets[1].id, 10.0) == tickets[1]
    again.use(tickets[1].id, 10.0)
    assert again.find(tickets[1].id, 10.0) is None
    with pytest.raises(MisuseError):
        again.use(tickets[1].id, 10.0)
    third = again.resumption(10.0)
    again.expire(KEY_PERIOD)
    assert len(gate.keys) == 2
    assert again.find(third.id, KEY_PERIOD) == third
    again.expire(KEY_LIFETIME)
    assert again.find(third.id, KEY_LIFETIME) is None


def test_without_the_keys_a_restart_forgets_them() -> None:
    ticket = _office().resumption(0.0)
    again = _office(seed=2)
    assert not again.restore(b"something else")
    again.expire(0.0)
    assert again.find(ticket.id, 1.0) is None
    assert again.resumption(0.0)


def test_draining_still_hands_out_what_to_come_back_with() -> None:
    office = _office()
    office.draining = True
    ticket = office.resumption(0.0)
    assert office.find(ticket.id, 1.0) == ticket


def test_the_data_plane_lets_through_what_the_office_made() -> None:
    forwarding = PlainForwarding(ManualClock())
    office = KEYS.office(10, SeededEntropy(1), forwarding)
    office.accept_peers([PEER.public_identity])
    _ask(office, _from_peer(RequestKind.BACKUP_KEY))
    backup = BackupMint(BACKUP_KEY, KEYS.public_identity, ENTROPY, 0.0).ticket(1.0)
    assert backup is not None
    numbers = [_issue(office, 0.0).id, office.resumption(0.0).id, backup.id]
    for number in [*numbers, bytes(16), b"f" * 16]:
        cell = (bytes((0x80, 111)) + bytes(10) + number).ljust(CELL_SIZE, b"\0")
        forwarding.receive([(cell, bytes(18))], 1.0)
    strangers = [upcall for upcall in forwarding.upcalls() if isinstance(upcall, Stranger)]
    assert [stranger.datagram[12:28] for stranger in strangers] == numbers

"""Requests and answers: one size each, sealed and signed for one purpose."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import PeerError, RefusedByPolicy, SeededEntropy
from relay.media_reflector.descriptor import Descriptor, ReflectorReference, verify_descriptor
from relay.media_reflector.keys import ReflectorKeys
from relay.media_reflector.ticket_messages import (
    ANSWER_SIZE,
    LATEST_MOMENT,
    REQUEST_SIZE,
    SOONEST_MOMENT,
    Answer,
    ComeAgainLater,
    Request,
    RequestKind,
    descriptor_request,
    load_kem_key,
    open_secret,
    parse_answer,
    peer_request,
    read_request,
    ticket_lifetime,
    ticket_request,
    verify_peer,
    write_answer,
)
from relay.media_reflector.tickets import LIFETIME, SHORTEST_LIFETIME
from relay.wire import encode, pad

ENTROPY = SeededEntropy("messages")
KEYS = ReflectorKeys.generate(ENTROPY)
PEER = ReflectorKeys.generate(ENTROPY)
KEM = load_kem_key(KEYS.kem)[0]
ONION = "a" * 56
WALL = 1_800_000_000.0
SIGNED = KEYS.signed_descriptor(ONION, [("192.0.2.1", 7210)], WALL, capacity=100)
DESCRIPTOR = verify_descriptor(SIGNED, ReflectorReference(ONION, KEYS.public_identity), WALL)
SECRET = bytes(range(32))
PEER_KINDS = [RequestKind.BACKUP_KEY, RequestKind.TRUNK_TICKET]


def _from_peer(kind: RequestKind = RequestKind.TRUNK_TICKET) -> Request:
    return read_request(peer_request(kind, SECRET, DESCRIPTOR, PEER.identity_key))


def test_every_request_has_one_size() -> None:
    requests = [descriptor_request(), ticket_request(DESCRIPTOR, ENTROPY)[0]]
    requests += [peer_request(kind, SECRET, DESCRIPTOR, PEER.identity_key) for kind in PEER_KINDS]
    assert {len(request) for request in requests} == {REQUEST_SIZE}


def test_the_largest_descriptor_there_can_be_fits() -> None:
    trunks = [(bytes([number]) * 32, 4096) for number in range(16)]
    addresses = [("192.0.2.255", 65535), ("2001:db8:1111:2222:3333:4444:5555:6666", 65535)]
    reference = str(ReflectorReference("b" * 56, bytes(range(32))))
    signed = KEYS.signed_descriptor(ONION, addresses, WALL, capacity=99000, trunks=trunks, backup=reference)
    assert len(write_answer(Answer(True, signed, 0))) == ANSWER_SIZE


def test_a_ticket_request_carries_its_secret_to_the_right_reflector_only() -> None:
    data, secret = ticket_request(DESCRIPTOR, ENTROPY)
    assert secret not in data
    request = read_request(data)
    assert open_secret(request, KEM, KEYS.public_identity) == secret
    assert (request.peer, request.signature) == (b"", b""), "nothing says who asks"
    with pytest.raises(PeerError, match="not sealed"):
        open_secret(request, KEM, PEER.public_identity)
    with pytest.raises(PeerError, match="not sealed"):
        open_secret(request, load_kem_key(PEER.kem)[0], KEYS.public_identity)


@pytest.mark.parametrize("kind", PEER_KINDS)
def test_a_peers_request_is_signed_for_one_purpose_and_one_reflector(kind: RequestKind) -> None:
    request = _from_peer(kind)
    verify_peer(request, KEYS.public_identity)
    assert open_secret(request, KEM, KEYS.public_identity) == SECRET
    with pytest.raises(PeerError, match="signature"):
        verify_peer(request, PEER.public_identity)
    for other in PEER_KINDS:
        if other != kind:
            moved = Request(other, request.sealed, request.peer, request.signature)
            with pytest.raises(PeerError, match="signature"):
                verify_peer(moved, KEYS.public_identity)
            with pytest.raises(PeerError, match="not sealed"):
                open_secret(moved, KEM, KEYS.public_identity)


@settings(max_examples=60, deadline=None)
@given(
    sealed=st.binary(max_size=1200),
    peer=st.binary(max_size=40) | st.just(PEER.public_identity),
    signature=st.binary(max_size=70) | st.just(_from_peer().signature),
    kind=st.sampled_from(PEER_KINDS),
)
def test_no_signature_is_right_by_chance(
    sealed: bytes, peer: bytes, signature: bytes, kind: RequestKind
) -> None:
    request = Request(kind, sealed, peer, signature)
    with pytest.raises(PeerError):
        verify_peer(request, KEYS.public_identity)
    with pytest.raises(PeerError):
        open_secret(request, KEM, KEYS.public_identity)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=REQUEST_SIZE) | st.binary(max_size=1400).map(lambda data: pad(data, REQUEST_SIZE)))
def test_a_wrong_request_raises_only_the_peers_fault(data: bytes) -> None:
    with pytest.raises(PeerError):
        read_request(data)


@pytest.mark.parametrize("kind", [-1, 0, 5, 2**63])
def test_an_unknown_request(kind: int) -> None:
    with pytest.raises(PeerError, match="unknown request"):
        read_request(pad(encode(Request(kind, b"", b"", b"")), REQUEST_SIZE))


def test_a_descriptor_with_a_wrong_key_is_the_peers_fault() -> None:
    fields = {name: getattr(DESCRIPTOR, name) for name in Descriptor.__struct_fields__}
    for key in (bytes(1216), DESCRIPTOR.kem_key[:-32] + bytes(32), b"\xff" * 1216, b""):
        bad = Descriptor(**fields | {"kem_key": key})
        with pytest.raises(PeerError, match="bad descriptor key"):
            ticket_request(bad, ENTROPY)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda data: pad(data, ANSWER_SIZE)))
def test_a_wrong_answer_raises_only_the_peers_fault(data: bytes) -> None:
    with pytest.raises(PeerError):
        parse_answer(data)


def test_answers_round_trip() -> None:
    answer = Answer(True, b"data", 5)
    assert parse_answer(write_answer(answer)) == answer


@pytest.mark.parametrize("seconds", [SOONEST_MOMENT, 77, LATEST_MOMENT])
def test_a_refusal_names_a_moment(seconds: int) -> None:
    with pytest.raises(ComeAgainLater, match=f"come again in about {seconds} seconds") as refusal:
        parse_answer(write_answer(Answer(False, b"", seconds)))
    assert refusal.value.seconds == seconds
    assert isinstance(refusal.value, RefusedByPolicy)


@pytest.mark.parametrize("seconds", [-1, 0, SOONEST_MOMENT - 1, LATEST_MOMENT + 1, 2**63])
def test_a_moment_to_know_an_asker_again_by_is_refused(seconds: int) -> None:
    with pytest.raises(PeerError, match="moment"):
        parse_answer(write_answer(Answer(False, b"", seconds)))


@pytest.mark.parametrize("lifetime", [-1, 0, SHORTEST_LIFETIME - 1, LIFETIME + 1, 2**63])
def test_a_lifetime_out_of_bounds_is_the_peers_fault(lifetime: float) -> None:
    with pytest.raises(PeerError, match="lifetime"):
        ticket_lifetime(Answer(True, b"", int(lifetime)))


@pytest.mark.parametrize("lifetime", [SHORTEST_LIFETIME, LIFETIME])
def test_a_lifetime_within_bounds(lifetime: float) -> None:
    assert ticket_lifetime(Answer(True, b"", int(lifetime))) == lifetime

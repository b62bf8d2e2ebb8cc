"""Two ends of ZRTP on whatever path, and with whatever a stranger throws in: they agree or they fail, and end."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core import SeededEntropy
from relay.zrtp import (
    EVERYTHING,
    AuthTagType,
    CipherType,
    HashType,
    KeyAgreementType,
    Offer,
    Phase,
    SasType,
    Settings,
)
from relay.zrtp.messages import MessageType, build
from relay.zrtp.packet import PacketWriter
from tests.zrtp.pair import Meddler, Pair, Path, World, agree, message_of

FAST = tuple(kind for kind in KeyAgreementType if kind.is_dh and kind is not KeyAgreementType.DH3K)
OFFERS = st.builds(
    Offer,
    st.permutations(list(HashType)).map(tuple),
    st.permutations(list(CipherType)).map(tuple),
    st.permutations(list(AuthTagType)).map(tuple),
    st.permutations(FAST).map(tuple),
    st.permutations(list(SasType)).map(tuple),
)
ENDS = st.builds(Settings, OFFERS, st.booleans(), st.booleans())
PATHS = st.builds(Path, st.floats(0.0, 0.4), st.floats(0.0, 0.5), st.floats(0.0, 0.5), st.floats(0.0, 0.5))
BODIES = st.integers(0, 40).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n))
INJECTED = st.lists(st.tuples(st.sampled_from(list(MessageType)), BODIES, st.booleans()), max_size=12)
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(pair: Pair) -> None:
    """What holds however it went."""
    for party in pair.parties:
        assert party.is_secured != (party.failed is not None)
        assert party.exchange.deadline is None
        assert party.exchange.phase in (Phase.SECURE, Phase.ENDED)
        # Bounded: what was sent is what the timers allow, and what the peer's own messages asked for.
        assert len(party.sent) < 250
    if pair.alice.is_secured and pair.bob.is_secured:
        agree(pair)


@QUIET
@given(st.integers(0, 10**9), ENDS, ENDS, PATHS, st.floats(0.0, 2.0))
def test_they_agree_or_both_end(seed: int, one: Settings, other: Settings, path: Path, later: float) -> None:
    world = World(seed, (one, other))
    alice, bob = world.exchanges()
    check(Pair(alice, bob, path=path, entropy=SeededEntropy(seed)).run(200.0, bob_later=later))


@QUIET
@given(st.integers(0, 10**9), OFFERS, OFFERS, st.floats(0.0, 0.25), st.floats(0.0, 0.5), st.floats(0.0, 0.3))
def test_a_path_that_only_loses_some_is_no_obstacle(
    seed: int, one: Offer, other: Offer, loss: float, doubling: float, jitter: float
) -> None:
    """Up to a quarter lost: ten retransmissions of each message are enough, but for less than one in 100,000."""
    world = World(seed, (Settings(one), Settings(other)))
    for _ in range(2):
        pair = world.call(path=Path(0.05, jitter, loss, doubling))
        agree(pair)
        assert not pair.alice.alarms + pair.bob.alarms


def throwing(injected: list[tuple[MessageType, bytes, bool]], seed: int, sources: tuple[int, int]) -> Meddler:
    """Adds one message of nobody's to each of the first datagrams, from the peer's source or from another one."""
    left = list(injected)
    writers = {
        (name, real): PacketWriter(source if real else 0xBAD, SeededEntropy(f"{seed}/{name}"))
        for name, source in zip(("alice", "bob"), sources, strict=True)
        for real in (True, False)
    }

    def meddler(name: str, datagram: bytes) -> list[bytes]:
        if not left:
            return [datagram]
        kind, body, real = left.pop()
        return [writers[name, real].wrap(build(kind, body)), datagram]

    return meddler


@QUIET
@given(st.integers(0, 10**9), INJECTED, st.booleans())
def test_strangers_can_end_it_and_nothing_worse(
    seed: int, injected: list[tuple[MessageType, bytes, bool]], cached: bool
) -> None:
    world = World(seed)
    if cached:
        world.call()
    number = 1 if cached else 0
    sources = 1000 + 2 * number, 1001 + 2 * number
    check(world.call(meddler=throwing(injected, seed, sources), until=200.0))


@QUIET
@given(st.integers(0, 10**9), st.data())
def test_damaged_messages_with_right_checksums(seed: int, data: st.DataObject) -> None:
    """Cut, prolonged, filled with something else: structure alone decides, and never by a crash."""
    damage = data.draw(
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 60), st.binary(min_size=0, max_size=16)))
    )
    count = iter(range(10**6))
    at = {which: (place, content) for which, place, content in damage}

    def meddler(name: str, datagram: bytes) -> list[bytes]:
        if (found := at.get(next(count))) is None:
            return [datagram]
        place, content = found
        message = message_of(datagram)
        damaged = message[: 4 * place] + content + message[4 * place + len(content) + 4 :]
        source = int.from_bytes(datagram[8:12])
        return [PacketWriter(source, SeededEntropy(seed)).wrap(damaged), datagram]

    check(World(seed).call(meddler=meddler, until=200.0))


@QUIET
@given(st.integers(0, 10**9), PATHS)
def test_streams_of_one_session_never_share_keys(seed: int, path: Path) -> None:
    world = World(seed, (replace(Settings(), offer=EVERYTHING), Settings()))
    first = world.call()
    sessions = first.alice.secured.session, first.bob.secured.session
    keys = [first.alice.secured.send.key, first.alice.secured.receive.key]
    for _ in range(3):
        alice, bob = world.exchanges(sessions=sessions)
        pair = Pair(
            alice, bob, path=replace(path, loss=min(path.loss, 0.2)), entropy=SeededEntropy(seed)
        ).run(200.0)
        check(pair)
        if pair.alice.is_secured:
            keys += [pair.alice.secured.send.key, pair.alice.secured.receive.key]
    assert len(set(keys)) == len(keys)

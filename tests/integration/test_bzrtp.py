"""Exchanges between our ZRTP and Linphone's (bzrtp): both must come to the same keys and show the same SAS."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace

import pytest

from relay.core import ManualClock, SeededEntropy
from relay.zrtp import (
    EVERYTHING,
    Alarm,
    AlarmKind,
    CipherType,
    Continuity,
    Effect,
    Exchange,
    Expectation,
    Failed,
    HashType,
    KeyAgreementType,
    MemoryZidCache,
    Offer,
    Role,
    SasType,
    Secured,
    Send,
    Session,
    Settings,
)
from tests.integration.bzrtp import CIPHER, HASH, KEY_AGREEMENT, SAS, Bzrtp, Database, Outcome

ZID = b"our own zid."
STEP = 0.01
"""bzrtp wants to be told the time: every ten milliseconds."""
EVERY_ALGORITHM = {
    HASH: ["S256", "S384"],
    CIPHER: ["AES1", "AES3"],
    KEY_AGREEMENT: ["X255", "DH3k", "Mult"],
    SAS: ["B32 ", "B256"],
}


@dataclass
class Call:
    """One stream between the two, over a path that loses nothing."""

    exchange: Exchange
    bzrtp: Bzrtp
    ours: int
    theirs: int
    effects: list[Effect] = field(default_factory=list)

    def run(self, *, seconds: float = 5.0, we_wait: float = 0.0) -> "Call":
        inbound: list[bytes] = []
        began = we_began = False
        for step in range(round(seconds / STEP)):
            now = step * STEP
            if not began:
                self.bzrtp.begin(self.theirs, now)
                began = True
            if not we_began and now >= we_wait:
                we_began = True
                inbound += self._act(self.exchange.begin(now))
            inbound += self._act(self.exchange.due(now))
            for datagram in inbound:
                self.bzrtp.receive(self.theirs, datagram)
            inbound = []
            self.bzrtp.tick(self.theirs, now)
            outgoing = self.bzrtp.outgoing[self.theirs]
            arrived, outgoing[:] = list(outgoing), []
            for datagram in arrived:
                if we_began:
                    inbound += self._act(self.exchange.receive(datagram, now))
        return self

    def _act(self, effects: list[Effect]) -> list[bytes]:
        self.effects += [effect for effect in effects if not isinstance(effect, Send)]
        return [effect.datagram for effect in effects if isinstance(effect, Send)]

    @property
    def secured(self) -> Secured:
        return next(effect for effect in self.effects if isinstance(effect, Secured))

    @property
    def outcome(self) -> Outcome:
        assert self.bzrtp.secure(self.theirs)
        return self.bzrtp.outcomes[self.theirs]

    def agree(self) -> None:
        secured, outcome = self.secured, self.outcome
        assert (secured.send.key, secured.send.salt) == outcome.receive
        assert (secured.receive.key, secured.receive.salt) == outcome.send
        if secured.sas is not None:
            assert outcome.sas.replace(":", " ").lower() == secured.sas.text.lower()


def offer_of(**changed: object) -> Offer:
    fields = {name: getattr(EVERYTHING, name) for name in Offer.__dataclass_fields__}
    return Offer(**{**fields, **changed})


@contextmanager
def calling(
    settings: Settings,
    *,
    offers: Mapping[int, Sequence[str]] | None = None,
    database: Database | None = None,
    cache: MemoryZidCache | None = None,
    seed: str = "call",
) -> Iterator[Call]:
    cache = cache if cache is not None else MemoryZidCache(ManualClock())
    exchange = Exchange(settings, 11, ZID, cache, SeededEntropy(seed))
    with closing(Bzrtp(12, offers if offers is not None else EVERY_ALGORITHM, database)) as bzrtp:
        yield Call(exchange, bzrtp, 11, 12)


@pytest.mark.parametrize("sas", list(SasType))
@pytest.mark.parametrize("hash_type", list(HashType))
@pytest.mark.parametrize("cipher", list(CipherType))
@pytest.mark.parametrize("agreement", [KeyAgreementType.X255, KeyAgreementType.DH3K])
@pytest.mark.parametrize("role", list(Role))
def test_both_come_to_the_same_keys_and_sas(
    role: Role, agreement: KeyAgreementType, cipher: CipherType, hash_type: HashType, sas: SasType
) -> None:
    """Every algorithm that both have.  What is ours alone to offer, the initiator has to take, whoever that is."""
    mandatory = offer_of(
        hashes=(hash_type,), ciphers=(cipher,), key_agreements=(agreement,), sas_types=(sas,)
    )
    theirs = {
        HASH: [hash_type.value],
        CIPHER: [cipher.value],
        KEY_AGREEMENT: [agreement.value],
        SAS: [sas.value],
    }
    with calling(Settings(offer=mandatory, passive=role is Role.RESPONDER), offers=theirs) as call:
        call.run(seconds=2.0, we_wait=0.2 if role is Role.INITIATOR else 0.0)
        call.agree()
        suite = call.secured.suite
        assert (suite.key_agreement, suite.cipher, suite.hash, suite.sas) == (
            agreement,
            cipher,
            hash_type,
            sas,
        )
        if role is Role.RESPONDER:
            assert call.secured.role is role


def test_its_own_choice_of_algorithms_will_do() -> None:
    with calling(Settings(), offers={}) as call:
        call.run()
        call.agree()
        assert call.secured.continuity is Continuity.FIRST


def test_both_begin_at_once_again_and_again() -> None:
    """Commits cross; whichever hash is higher wins, by both sides' reckoning."""
    roles = set()
    for seed in range(24):
        with calling(Settings(), seed=f"contention/{seed}") as call:
            call.run(seconds=1.5)
            call.agree()
            roles.add(call.secured.role)
    assert roles == set(Role)


def test_the_secret_of_one_call_is_found_again_in_the_next_ones() -> None:
    database, cache = Database(), MemoryZidCache(ManualClock())
    for number in range(3):
        with calling(Settings(), database=database, cache=cache, seed=f"again/{number}") as call:
            call.run()
            call.agree()
            assert call.secured.continuity is (Continuity.CONTINUED if number else Continuity.FIRST)
            assert call.secured.verified is (number == 2)
            assert call.secured.peer_verified is (number == 2)
            assert call.outcome.verified is (number == 2)
            if number == 1:
                call.exchange.verify_sas()
                call.bzrtp.verify_sas()


def test_when_it_lost_its_secrets_there_is_an_alarm() -> None:
    cache = MemoryZidCache(ManualClock())
    database = Database()
    with calling(Settings(), database=database, cache=cache) as call:
        call.run()
        known = call.secured.peer_zid
        retained = cache.look_up(ZID, known)
        assert retained is not None
    # It still has its ZID; what we have of it is another secret.
    cache.keep(ZID, known, replace(retained, rs1=bytes(32), rs2=b""), 0xFFFFFFFF)
    with calling(Settings(), database=database, cache=cache, seed="second") as call:
        call.run()
        call.agree()
        assert call.secured.continuity is Continuity.MISMATCH
        assert Alarm(AlarmKind.CACHE_MISMATCH) in call.effects


def test_a_second_stream_is_keyed_from_the_first() -> None:
    """Whoever began the first one and whoever begins this; bzrtp chooses an authentication tag of its own in it."""
    pairs = set()
    for number in range(24):
        cache = MemoryZidCache(ManualClock())
        with calling(Settings(), cache=cache, seed=f"streams/{number}") as call:
            call.run(seconds=1.5)
            call.agree()
            session: Session = call.secured.session
            second = Exchange(Settings(), 21, ZID, cache, SeededEntropy(f"second/{number}"), session=session)
            call.bzrtp.add_stream(22)
            stream = Call(second, call.bzrtp, 21, 22).run(seconds=1.5)
            stream.agree()
            assert stream.secured.suite.key_agreement is KeyAgreementType.MULT
            assert stream.secured.send != call.secured.send
            pairs.add((call.secured.role, stream.secured.role))
    assert len(pairs) == 4


def test_two_that_gave_up_saying_hello_agree_as_soon_as_somebody_repeats_it_for_them() -> None:
    """What an agent does whose line opens long after its phone was answered (`relay.agent.phone_end`)."""
    with closing(Bzrtp(11)) as one, closing(Bzrtp(12)) as other:
        pair = ((one, 11, other, 12), (other, 12, one, 11))
        last: dict[int, bytes] = {}
        for step in range(3000):
            now = step * STEP
            for bzrtp, own, peer, peers in pair:
                if step == 0:
                    bzrtp.begin(own, now)
                bzrtp.tick(own, now)
                said, bzrtp.outgoing[own][:] = list(bzrtp.outgoing[own]), []
                if now < 20.0:
                    # The lines have not met.
                    last[own] = (said or [last[own]])[-1]
                    continue
                if step == 2000:
                    said = [last[own]]
                for datagram in said:
                    peer.receive(peers, datagram)
        assert one.secure(11)
        assert other.secure(12)
        assert one.outcomes[11].sas == other.outcomes[12].sas != ""


def test_each_takes_the_hello_that_the_other_signalled() -> None:
    with calling(Settings()) as call:
        call.exchange.expect(Expectation(hello_hashes=(call.bzrtp.hello_hash(12),), protected=True))
        call.bzrtp.expect_hello_hash(12, call.exchange.hello_hash)
        call.run()
        call.agree()
        assert call.secured.signalled
        assert call.secured.authenticated


def test_neither_takes_another_hello() -> None:
    with calling(Settings()) as call:
        digits = call.bzrtp.hello_hash(12)
        call.exchange.expect(Expectation(hello_hashes=(digits[:-1] + ("0" if digits[-1] != "0" else "1"),)))
        call.run(seconds=31.0)
        assert not call.bzrtp.secure(12)
        assert Alarm(AlarmKind.HELLO_HASH_MISMATCH) in call.effects
        assert Failed(None) in call.effects

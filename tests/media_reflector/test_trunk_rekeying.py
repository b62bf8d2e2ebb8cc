"""Rekeying of a trunk's slots, in virtual time that is made short."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.media_reflector import trunk_rekeying
from tests.media_reflector.two_reflectors import Pair, heard, numbered


class RecordedAead:
    """AES-GCM that remembers under which (key, nonce) it sealed, all over the process."""

    sealed: list[tuple[bytes, bytes]]

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aead = AESGCM(key)
        self.decrypt = self._aead.decrypt

    def encrypt(self, nonce: bytes, data: bytes, header: bytes | None) -> bytes:
        if data:
            self.sealed.append((self._key, nonce))
        return self._aead.encrypt(nonce, data, header)


def test_slots_are_rekeyed_and_no_call_notices_and_no_nonce_comes_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    RecordedAead.sealed = []
    monkeypatch.setattr("relay.rtp.srtp.AESGCM", RecordedAead)
    monkeypatch.setattr("relay.media_reflector.forwarding.twin_line.AESGCM", RecordedAead)
    monkeypatch.setattr(trunk_rekeying, "SOONEST", 65.0)
    monkeypatch.setattr(trunk_rekeying, "LATEST", 70.0)
    monkeypatch.setattr(trunk_rekeying, "PATIENCE", 0.0)
    pair = Pair(slots=(3, 3), delay=0.010)
    pair.open()
    alice, bob = pair.crossed_pair()
    before = {ssrc for _, _, ssrc in pair.wire[-100:]}
    pair.run(60.0)
    alice.speak, bob.speak = numbered(), numbered()
    pair.run(15.0)
    assert pair.two.count("rekeys") == 4, "the three slots, and the one for what the two say"
    assert not before & {ssrc for _, _, ssrc in pair.wire[-100:]}
    for agent in (alice, bob):
        assert heard(agent) == list(range(len(heard(agent))))
        assert len(heard(agent)) > 740
    assert pair.up
    pair.run(70.0)
    assert pair.two.count("rekeys") == 8
    assert pair.up
    assert len(RecordedAead.sealed) > 30_000
    assert len(set(RecordedAead.sealed)) == len(RecordedAead.sealed)


def test_rekeying_survives_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trunk_rekeying, "SOONEST", 1.0)
    monkeypatch.setattr(trunk_rekeying, "LATEST", 2.0)
    pair = Pair(slots=(3, 3))
    pair.open()
    pair.loses = lambda source, cell: pair.entropy.below(3) == 0
    pair.run(20.0)
    pair.loses = lambda source, cell: False
    assert pair.two.count("rekeys") >= 4
    alice, bob = pair.crossed_pair()
    alice.speak = numbered()
    pair.run(1.0)
    assert len(heard(bob)) > 40
    assert pair.one.count("trunks_ended") == 0


def test_a_slot_with_a_call_is_rekeyed_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trunk_rekeying, "SOONEST", 2.0)
    monkeypatch.setattr(trunk_rekeying, "LATEST", 3.0)
    monkeypatch.setattr(trunk_rekeying, "LOOK_AGAIN", 1.0)
    pair = Pair(slots=(1, 1))
    pair.open()
    alice, _ = pair.crossed_pair()
    pair.run(10.0)
    assert pair.two.count("rekeys") == 1, "the slot without a call"
    alice.line.close()
    pair.run(2.0)
    assert pair.two.count("rekeys") == 2

"""H0 to H3, and what they key."""

import hashlib

import pytest

from relay.core import MisuseError, SeededEntropy
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.hash_chain import HashChain, PeerChain


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_each_image_is_the_hash_of_the_one_before() -> None:
    chain = HashChain(SeededEntropy("chain"))
    assert [chain[1], chain[2], chain[3]] == [sha(chain[0]), sha(sha(chain[0])), sha(sha(sha(chain[0])))]


def test_images_are_revealed_one_after_the_other_or_some_at_once() -> None:
    chain = HashChain(SeededEntropy("chain"))
    for levels in ((2, 1, 0), (1, 0), (0,), (2, 0)):
        peer = PeerChain(chain[3])
        for level in levels:
            assert peer.reveals(level, chain[level])
            assert not peer.reveals(level, sha(chain[level]))
            peer.take(level, chain[level])
            assert peer[level] == chain[level]
            assert peer[3] == chain[3]


def test_an_image_of_another_chain_is_refused_and_changes_nothing() -> None:
    chain, other = HashChain(SeededEntropy("one")), HashChain(SeededEntropy("other"))
    peer = PeerChain(chain[3])
    peer.take(2, chain[2])
    with pytest.raises(ZrtpError) as error:
        peer.take(1, other[1])
    assert error.value.code is ErrorCode.HELLO_MISMATCH
    peer.take(1, chain[1])


def test_what_was_not_revealed_cannot_be_asked_for() -> None:
    with pytest.raises(MisuseError):
        PeerChain(bytes(32))[2]


def test_a_wrong_mac_is_an_attack() -> None:
    chain = HashChain(SeededEntropy("mac"))
    message = chain.sign(b"a message of some kind", 2)
    peer = PeerChain(chain[3])
    peer.take(2, chain[2])
    peer.check(message, 2)
    with pytest.raises(ZrtpError) as error:
        peer.check(b"A" + message[1:], 2)
    assert error.value.attack

"""Hello, and its hash in SDP."""

import contextlib
import hashlib
import hmac
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import PeerError, SeededEntropy
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.hash_chain import HashChain, PeerChain
from relay.zrtp.hello import (
    CLIENT,
    Hello,
    HelloHashes,
    build_hello,
    hello_hash,
    is_newer_hello,
    read_hello_hash,
)
from relay.zrtp.messages import MessageType, build, read
from relay.zrtp.settings import EVERYTHING, Settings
from relay.zrtp.suites import AuthTagType, CipherType, HashType, KeyAgreementType, Offer, SasType
from tests.zrtp.pair import ALICE

OFFERS = st.builds(
    Offer,
    *(
        st.lists(st.sampled_from(list(kind)), unique=True).map(tuple)
        for kind in (HashType, CipherType, AuthTagType, KeyAgreementType, SasType)
    ),
)


def other_hello(blocks: bytes, counts: int, version: bytes = b"1.10") -> bytes:
    """As another implementation would write it."""
    body = version + b"someone else    " + bytes(32) + b"another zid." + struct.pack("!I", counts) + blocks
    return build(MessageType.HELLO, body + bytes(8))


@given(OFFERS, st.booleans(), st.booleans())
def test_what_is_built_is_read(offer: Offer, passive: bool, mitm: bool) -> None:
    chain = HashChain(SeededEntropy("hello"))
    message = build_hello(ALICE, offer, chain, passive=passive, mitm=mitm)
    assert read(message)[0] is MessageType.HELLO
    hello = Hello.read(message)
    assert (hello.zid, hello.h3, hello.client, hello.version) == (ALICE, chain[3], CLIENT, b"1.10")
    assert (hello.passive, hello.mitm, hello.signatures) == (passive, mitm, False)
    assert hello.offer == offer.completed()
    assert not hello.older
    peer_chain = PeerChain(hello.h3)
    peer_chain.take(2, chain[2])
    peer_chain.check(message, 2)
    assert message[-8:] == hmac.digest(chain[2], message[:-8], "sha256")[:8]


def test_ours_says_the_same_of_everybody() -> None:
    """Two people's Hellos differ in ZID, H3 and MAC, and in nothing that tells releases or machines apart."""
    one, other = (
        build_hello(zid, Settings().whole_offer(), HashChain(SeededEntropy(zid.hex())))
        for zid in (ALICE, b"another zid.")
    )
    assert len(one) == len(other)
    assert one[:32] == other[:32]
    assert one[76:-8] == other[76:-8]
    # The control: what should differ does.
    assert one[32:76] != other[32:76]


def test_unknown_algorithms_are_passed_over_and_mandatory_ones_implied() -> None:
    # Two hashes, one cipher, two auth tags, four key agreements, no SAS type.
    hello = Hello.read(other_hello(b"S384N256AES3SK64HS32X448EC38EC38Mult", 0x21240))
    assert hello.offer == Offer(
        (HashType.S384, HashType.S256),
        (CipherType.AES3, CipherType.AES1),
        (AuthTagType.HS32, AuthTagType.HS80),
        (KeyAgreementType.EC38, KeyAgreementType.MULT, KeyAgreementType.DH3K),
        (SasType.B32,),
    )


def test_counts_and_length_must_agree() -> None:
    with pytest.raises(ZrtpError) as error:
        Hello.read(other_hello(b"S384", 0x20000))
    assert error.value.code is ErrorCode.MALFORMED
    with pytest.raises(ZrtpError):
        Hello.read(other_hello(b"S384" * 8, 0x80000))
    with pytest.raises(ZrtpError):
        Hello.read(other_hello(b"", 0)[:80])


def test_versions_are_compared_by_three_characters() -> None:
    def at(version: bytes) -> Hello:
        return Hello.read(other_hello(b"", 0, version))

    assert not any(at(version).older for version in (b"1.10", b"1.1 ", b"1.1a", b"1.20"))
    assert at(b"1.00").older
    assert at(b"0.90").older
    assert all(is_newer_hello(at(version).message) for version in (b"1.20", b"2.00"))
    assert not any(is_newer_hello(at(version).message) for version in (b"1.10", b"1.1 ", b"1.1a", b"1.00"))
    assert not is_newer_hello(build(MessageType.HELLO))


@given(st.binary(max_size=200))
def test_anything_is_read_or_malformed(data: bytes) -> None:
    with contextlib.suppress(ZrtpError):
        Hello.read(data)


def test_the_hash_for_sdp() -> None:
    message = build_hello(ALICE, EVERYTHING, HashChain(SeededEntropy("sdp")))
    value = hello_hash(message)
    assert value == "1.10 " + hashlib.sha256(message).hexdigest()
    other = build_hello(ALICE, EVERYTHING, HashChain(SeededEntropy("other")))
    for values in ((value,), (value.upper(),), ("2.00 " + "0" * 64, hello_hash(b"\0" * 12 + b"1.10"), value)):
        hashes = HelloHashes(values)
        assert hashes
        assert hashes.fit(message)
        assert not hashes.fit(other)
    nothing = HelloHashes(("2.00 " + "0" * 64,))
    assert not nothing
    assert not nothing.fit(message)


def test_a_hash_for_another_version_is_none_of_ours() -> None:
    assert read_hello_hash("2.00 " + "0" * 64) is None
    assert read_hello_hash("1.1a " + "a" * 64) == "a" * 64


@pytest.mark.parametrize("value", ["", "1.10", "1.10 12", "1.10 " + "g" * 64, "1.10 " + "0" * 65, "0" * 64])
def test_what_is_no_hash_is_refused(value: str) -> None:
    with pytest.raises(PeerError, match="malformed"):
        read_hello_hash(value)

"""DHPart1 and DHPart2."""

import pytest

from relay.core import SeededEntropy
from relay.zrtp.dh_part import DhPart, SecretIds, build_dh_part
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.hash_chain import HashChain, PeerChain
from relay.zrtp.key_agreement import PUBLIC_SIZES
from relay.zrtp.messages import MessageType, read
from relay.zrtp.suites import KeyAgreementType

CHAIN = HashChain(SeededEntropy("part"))
IDS = SecretIds(b"rs1rs1rs", b"rs2rs2rs", b"auxiliar", b"pbxpbxpb")


@pytest.mark.parametrize(
    ("agreement", "words"),
    [
        # Section 5.1.5, table 5; X255's follows from its 8 words.
        (KeyAgreementType.DH3K, 117),
        (KeyAgreementType.EC25, 37),
        (KeyAgreementType.EC38, 45),
        (KeyAgreementType.X255, 29),
    ],
)
@pytest.mark.parametrize("kind", [MessageType.DH_PART_1, MessageType.DH_PART_2])
def test_lengths_are_those_of_table_5(kind: MessageType, agreement: KeyAgreementType, words: int) -> None:
    size = PUBLIC_SIZES[agreement]
    message = build_dh_part(kind, CHAIN, IDS, b"p" * size)
    assert len(message) == 4 * words
    assert read(message)[0] is kind
    part = DhPart.read(message, size)
    assert (part.h1, part.ids, part.public_value, part.message) == (CHAIN[1], IDS, b"p" * size, message)
    chain = PeerChain(CHAIN[3])
    chain.take(0, CHAIN[0])
    chain.check(message, 0)
    for other in set(PUBLIC_SIZES.values()) - {size}:
        with pytest.raises(ZrtpError) as error:
            DhPart.read(message, other)
        assert error.value.code is ErrorCode.MALFORMED

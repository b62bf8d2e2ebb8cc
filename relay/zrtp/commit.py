"""Commit in its three forms (RFC 6189 section 5.4), and who of two that commit at once goes on (section 4.2)."""

import hmac
from dataclasses import dataclass
from enum import StrEnum

from relay.zrtp.errors import ErrorCode, ZrtpError, malformed
from relay.zrtp.hash_chain import IMAGE_SIZE, HashChain
from relay.zrtp.messages import FRAME_SIZE, MAC_SIZE, ZID_SIZE, MessageType, build
from relay.zrtp.suites import AuthTagType, CipherType, HashType, KeyAgreementType, SasType, Suite

HVI_SIZE = 32
NONCE_SIZE = 16
KEY_ID_SIZE = 8
_ZID_AT = FRAME_SIZE + IMAGE_SIZE
_SUITE_AT = _ZID_AT + ZID_SIZE
_PROOF_AT = _SUITE_AT + 20


@dataclass(frozen=True, slots=True)
class Commit:
    """What an initiator settles on.  `proof` is hvi with Diffie-Hellman, else a nonce; `key_id` Preshared's alone."""

    h2: bytes
    zid: bytes
    suite: Suite
    proof: bytes
    key_id: bytes
    message: bytes

    @classmethod
    def read(cls, message: bytes) -> "Commit":
        """From a whole message that is known to be a Commit.

        Raises `ZrtpError`: malformed, or with the code for an algorithm that we do not know.
        """
        if len(message) < _PROOF_AT + NONCE_SIZE + MAC_SIZE:
            raise malformed("truncated", "5.4")
        suite = _read_suite(message[_SUITE_AT:_PROOF_AT])
        rest = message[_PROOF_AT:-MAC_SIZE]
        proof_size, key_id_size = _sizes(suite.key_agreement)
        if len(rest) != proof_size + key_id_size:
            raise malformed("wrong length", "5.4")
        return cls(
            message[FRAME_SIZE:_ZID_AT],
            message[_ZID_AT:_SUITE_AT],
            suite,
            rest[:proof_size],
            rest[proof_size:],
            message,
        )


def _sizes(key_agreement: KeyAgreementType) -> tuple[int, int]:
    """Bytes of hvi or nonce, and of keyID."""
    match key_agreement:
        case KeyAgreementType.MULT:
            return NONCE_SIZE, 0
        case KeyAgreementType.PRSH:
            return NONCE_SIZE, KEY_ID_SIZE
        case _:
            return HVI_SIZE, 0


def _read_suite(blocks: bytes) -> Suite:
    try:
        names = [blocks[at : at + 4].decode("ascii") for at in range(0, 20, 4)]
    except UnicodeDecodeError:
        raise malformed("an algorithm that is no text", "5.1") from None
    code = ErrorCode.HASH
    try:
        hash_type = HashType(names[0])
        code = ErrorCode.CIPHER
        cipher = CipherType(names[1])
        code = ErrorCode.AUTH_TAG
        auth_tag = AuthTagType(names[2])
        code = ErrorCode.KEY_AGREEMENT
        key_agreement = KeyAgreementType(names[3])
        code = ErrorCode.SAS
        return Suite(hash_type, cipher, auth_tag, key_agreement, SasType(names[4]))
    except ValueError:
        raise ZrtpError(code, "unknown algorithm", "5.4") from None


def build_commit(chain: HashChain, zid: bytes, suite: Suite, proof: bytes, key_id: bytes = b"") -> Commit:
    """Our own Commit, with the MAC under H1 in place."""
    blocks = "".join((suite.hash, suite.cipher, suite.auth_tag, suite.key_agreement, suite.sas)).encode()
    body = chain[2] + zid + blocks + proof + key_id
    message = chain.sign(build(MessageType.COMMIT, body + bytes(MAC_SIZE))[:-MAC_SIZE], 1)
    return Commit(chain[2], zid, suite, proof, key_id, message)


class Contention(StrEnum):
    """Which of two Commits that crossed is discarded."""

    OURS = "ours"
    THEIRS = "theirs"


def discarded(
    ours: Commit, theirs: Commit, *, we_are_mitm: bool = False, they_are_mitm: bool = False
) -> Contention:
    """The Commit that loses (section 4.2).

    Raises `ZrtpError` where one is Multistream and the other is not, or the two are the same.
    """
    mine, other = ours.suite.key_agreement, theirs.suite.key_agreement
    if (mine is KeyAgreementType.MULT) != (other is KeyAgreementType.MULT):
        raise ZrtpError(ErrorCode.SOFTWARE, "Multistream against another mode", "4.2")
    if mine.is_dh != other.is_dh:
        return Contention.THEIRS if mine.is_dh else Contention.OURS
    if mine is KeyAgreementType.PRSH and we_are_mitm != they_are_mitm:
        return Contention.OURS if we_are_mitm else Contention.THEIRS
    if hmac.compare_digest(ours.proof, theirs.proof):
        raise ZrtpError(ErrorCode.NONCE_REUSE, "both Commits are the same", "4.2", attack=True)
    return Contention.OURS if ours.proof < theirs.proof else Contention.THEIRS

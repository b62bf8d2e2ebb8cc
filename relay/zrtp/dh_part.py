"""DHPart1 and DHPart2 (RFC 6189 sections 5.5, 5.6)."""

from dataclasses import dataclass

from relay.zrtp.errors import malformed
from relay.zrtp.hash_chain import IMAGE_SIZE, HashChain
from relay.zrtp.messages import FRAME_SIZE, MAC_SIZE, MessageType, build

ID_SIZE = 8
"""Bytes of the hash of a shared secret (section 4.3.1)."""
_IDS_AT = FRAME_SIZE + IMAGE_SIZE
_PUBLIC_AT = _IDS_AT + 4 * ID_SIZE


@dataclass(frozen=True, slots=True)
class SecretIds:
    """Hashes of what one end has in its cache; random where it has nothing, so that nobody sees the difference."""

    rs1: bytes
    rs2: bytes
    auxsecret: bytes
    pbxsecret: bytes


@dataclass(frozen=True, slots=True)
class DhPart:
    """A public value and what its sender may share with us."""

    h1: bytes
    ids: SecretIds
    public_value: bytes
    message: bytes

    @classmethod
    def read(cls, message: bytes, public_size: int) -> "DhPart":
        """From a whole message of either kind.  Raises `ZrtpError` where its length is not the key agreement's."""
        if len(message) != _PUBLIC_AT + public_size + MAC_SIZE:
            raise malformed("wrong length", "5.5")
        ids = [message[at : at + ID_SIZE] for at in range(_IDS_AT, _PUBLIC_AT, ID_SIZE)]
        return cls(message[FRAME_SIZE:_IDS_AT], SecretIds(*ids), message[_PUBLIC_AT:-MAC_SIZE], message)


def build_dh_part(kind: MessageType, chain: HashChain, ids: SecretIds, public_value: bytes) -> bytes:
    """Our own, with the MAC under H0 in place."""
    body = chain[1] + ids.rs1 + ids.rs2 + ids.auxsecret + ids.pbxsecret + public_value
    return chain.sign(build(kind, body + bytes(MAC_SIZE))[:-MAC_SIZE], 0)

"""A reflector's long-lived keys, as one file keeps them, and the descriptor that they make."""

import functools
from collections.abc import Sequence

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.core import Entropy, MisuseError
from relay.media_reflector.descriptor import (
    PROFILE,
    VALIDITY,
    VERSION,
    Descriptor,
    rounded_capacity,
    sign_descriptor,
)
from relay.media_reflector.office import TicketOffice
from relay.media_reflector.ticket_messages import KEM_PRIVATE_SIZE, generate_kem_key, load_kem_key
from relay.media_reflector.tickets import Gate

_SEED_SIZE = 32


class ReflectorKeys(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Private keys: identity (Ed25519), link (X25519), tickets (ML-KEM seed and X25519)."""

    version: int
    identity: bytes
    static: bytes
    kem: bytes

    @classmethod
    def generate(cls, entropy: Entropy) -> "ReflectorKeys":
        return cls(1, entropy.token(_SEED_SIZE), entropy.token(_SEED_SIZE), generate_kem_key(entropy))

    @property
    def valid(self) -> bool:
        sizes = (self.version, len(self.identity), len(self.static), len(self.kem))
        return sizes == (1, _SEED_SIZE, _SEED_SIZE, KEM_PRIVATE_SIZE)

    @property
    def identity_key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.identity)

    @property
    def public_identity(self) -> bytes:
        return self.identity_key.public_key().public_bytes_raw()

    @property
    def static_key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.static)

    def office(self, capacity: int, entropy: Entropy, gate: Gate) -> TicketOffice:
        """A ticket office with these keys and no tickets."""
        return TicketOffice(load_kem_key(self.kem)[0], self.public_identity, capacity, entropy, gate)

    def descriptor(
        self,
        onion: str,
        addresses: Sequence[tuple[str, int]],
        wall: float,
        *,
        capacity: int,
        occupancy: int = 0,
        draining: bool = False,
        trunks: Sequence[tuple[bytes, int]] = (),
        backup: str = "",
    ) -> Descriptor:
        """A fresh descriptor, not signed yet; `wall` is the wall time now.

        `addresses` are literal (host, port), at most one of IPv4 and one of IPv6; `trunks` (identity, slots).  Raises
        `MisuseError` that says what no agent would take.
        """
        identity, static_key, kem_key = _public_parts(self)
        descriptor = Descriptor(
            version=VERSION,
            identity=identity,
            onion=onion,
            addresses=tuple(sorted(addresses, key=lambda address: ":" in address[0])),
            static_key=static_key,
            kem_key=kem_key,
            profile=PROFILE,
            capacity=rounded_capacity(capacity),
            occupancy=occupancy,
            draining=draining,
            # To the hour, so that a descriptor does not say when this process started or was asked.
            valid_from=int(wall) // 3600 * 3600,
            valid_until=int(wall) // 3600 * 3600 + VALIDITY,
            trunks=tuple(sorted(trunks)),
            backup=backup,
        )
        if fault := descriptor.fault():
            raise MisuseError(fault)
        return descriptor

    def sign(self, descriptor: Descriptor) -> bytes:
        """The descriptor as it travels."""
        return sign_descriptor(descriptor, self.identity_key)

    def signed_descriptor(
        self,
        onion: str,
        addresses: Sequence[tuple[str, int]],
        wall: float,
        *,
        capacity: int,
        occupancy: int = 0,
        draining: bool = False,
        trunks: Sequence[tuple[bytes, int]] = (),
        backup: str = "",
    ) -> bytes:
        """`sign` of `descriptor`, for a reflector that does not change what it says within an hour."""
        return self.sign(
            self.descriptor(
                onion,
                addresses,
                wall,
                capacity=capacity,
                occupancy=occupancy,
                draining=draining,
                trunks=trunks,
                backup=backup,
            )
        )


@functools.lru_cache(maxsize=4)
def _public_parts(keys: ReflectorKeys) -> tuple[bytes, bytes, bytes]:
    """Public identity, static and hybrid key.  Kept: to derive them takes a millisecond, and what is said of them is
    looked at every second."""
    static = keys.static_key.public_key().public_bytes_raw()
    return keys.public_identity, static, load_kem_key(keys.kem)[1]

"""The vault: parts sealed on their own, a header that a passphrase opens, nothing that tells more than it must."""

import threading

import msgspec
import pytest
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import MisuseError, PeerError, SeededEntropy, SystemEntropy
from relay.identity import vault as module
from relay.identity.vault import (
    COST,
    KEY_SIZE,
    LARGEST_HEADER,
    Cost,
    Vault,
    WrongPassphrase,
    _check,
    _read,
    check_header,
    create,
    header_for,
    unlock,
)
from relay.wire import encode

CHEAP = Cost(memory=32, passes=1, lanes=1)
ENTROPY = SystemEntropy()
PASSPHRASE = b"correct horse battery staple"
HEADER, OPEN = create(PASSPHRASE, ENTROPY, CHEAP)


@given(st.binary(max_size=6000), st.text(max_size=30))
def test_what_is_sealed_is_opened_again_under_its_name_alone(content: bytes, name: str) -> None:
    sealed = OPEN.seal(name, content, ENTROPY)
    assert OPEN.open(name, sealed) == content
    for other in (name + "x", ""):
        if other != name:
            with pytest.raises(PeerError, match="damaged part"):
                OPEN.open(other, sealed)


def test_every_flipped_bit_and_every_missing_byte_is_noticed() -> None:
    sealed = OPEN.seal("thing", b"content", ENTROPY)
    for position in range(len(sealed)):
        for bit in range(8) if position < 64 or position > len(sealed) - 64 else (position % 8,):
            flipped = bytearray(sealed)
            flipped[position] ^= 1 << bit
            with pytest.raises(PeerError):
                OPEN.open("thing", bytes(flipped))
    for size in [*range(64), len(sealed) - 1]:
        with pytest.raises(PeerError):
            OPEN.open("thing", sealed[:size])


def test_sizes_come_in_coarse_steps_and_no_two_sealings_look_alike() -> None:
    sizes = {len(OPEN.seal("thing", bytes(size), ENTROPY)) for size in range(0, 4093, 93)}
    assert sizes == {4096 + 28}
    assert len(OPEN.seal("thing", bytes(4093), ENTROPY)) == 8192 + 28
    assert len(OPEN.seal("thing", bytes(65532), ENTROPY)) == 65536 + 28
    one, other = (OPEN.seal("thing", bytes(100), ENTROPY) for _ in range(2))
    assert one[:12] != other[:12]
    assert sum(a == b for a, b in zip(one, other, strict=True)) < 100


def test_a_name_says_nothing_and_is_always_the_same() -> None:
    _, other = create(PASSPHRASE, ENTROPY, CHEAP)
    names = {vault.file_name(name) for vault in (OPEN, other) for name in ("identity.key", "contacts.json")}
    assert len(names) == 4
    assert all(len(name) == 32 and int(name, 16) for name in names)
    assert unlock(HEADER, PASSPHRASE).file_name("contacts.json") == OPEN.file_name("contacts.json")


def test_parts_of_another_vault_do_not_open() -> None:
    _, other = create(PASSPHRASE, ENTROPY, CHEAP)
    with pytest.raises(PeerError):
        OPEN.open("thing", other.seal("thing", b"content", ENTROPY))


def test_the_passphrase_opens_it_and_no_other_does() -> None:
    assert unlock(HEADER, PASSPHRASE).key == OPEN.key
    for wrong in (b"", b"correct horse battery stapl", PASSPHRASE + b"\0", bytes(1000)):
        with pytest.raises(WrongPassphrase, match=r"^that is not the passphrase of this vault$"):
            unlock(HEADER, wrong)


def test_a_new_passphrase_opens_the_same_parts_and_the_old_one_no_more() -> None:
    sealed = OPEN.seal("thing", b"content", ENTROPY)
    changed = header_for(OPEN, b"another", ENTROPY, CHEAP)
    assert unlock(changed, b"another").open("thing", sealed) == b"content"
    with pytest.raises(WrongPassphrase):
        unlock(changed, PASSPHRASE)


def test_a_damaged_header_is_told_from_a_wrong_passphrase_and_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "Argon2id", None)
    for position in range(len(HEADER)):
        for bit in range(8):
            flipped = bytearray(HEADER)
            flipped[position] ^= 1 << bit
            with pytest.raises(PeerError):
                unlock(bytes(flipped), PASSPHRASE)
    for size in range(len(HEADER)):
        with pytest.raises(PeerError):
            check_header(HEADER[:size])


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"memory": 1 << 21},
        {"memory": (1 << 32) - 1, "passes": 1},
        {"memory": 1 << 20, "passes": 9},
        {"passes": 0},
        {"passes": (1 << 32) - 1},
        {"memory": 7},
        {"lanes": 0},
        {"lanes": 17, "memory": 1 << 18},
        {"lanes": -1},
        {"passes": 1 << 64},
        {"salt": b""},
        {"salt": bytes(15)},
        {"nonce": bytes(11)},
        {"wrapped": bytes(49)},
        {"wrapped": bytes(LARGEST_HEADER)},
    ],
)
def test_a_hostile_header_takes_neither_memory_nor_time(
    changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a check that fits: whoever writes a header can compute it."""
    monkeypatch.setattr(module, "Argon2id", None)
    try:
        hostile = msgspec.structs.replace(_read(HEADER), **changes)
        made = encode(msgspec.structs.replace(hostile, check=_check(hostile)))
    except OverflowError:
        return
    with pytest.raises(PeerError):
        unlock(made, PASSPHRASE)


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_whatever_a_file_holds_it_is_no_header(data: bytes) -> None:
    with pytest.raises(PeerError):
        check_header(data)


def test_what_it_costs_is_bounded_from_below_and_above() -> None:
    """RFC 9106 section 4 recommends 64 MiB three times where memory is scarce."""
    assert COST.memory * COST.passes >= 3 * 65536
    header, _ = create(PASSPHRASE, SeededEntropy(1), COST)
    check_header(header)


def test_once_wiped_it_opens_nothing() -> None:
    vault = unlock(HEADER, PASSPHRASE)
    key = vault.key
    sealed = vault.seal("thing", b"content", ENTROPY)
    vault.wipe()
    vault.wipe()
    assert key == bytes(KEY_SIZE)
    for use in (
        lambda: vault.seal("thing", b"", ENTROPY),
        lambda: vault.open("thing", sealed),
        lambda: vault.key,
        lambda: vault.file_name("thing"),
    ):
        with pytest.raises(MisuseError, match="locked"):
            use()


def test_a_key_is_a_key_and_a_part_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MisuseError):
        Vault(bytearray(31))
    monkeypatch.setattr(module, "LARGEST_PART", 8192)
    with pytest.raises(MisuseError, match="more than a vault takes"):
        OPEN.seal("thing", bytes(9000), ENTROPY)


def test_representation_shows_no_key() -> None:
    assert OPEN.key.hex()[:8] not in repr(OPEN)


def test_whoever_wipes_it_while_another_thread_seals_gets_nothing_sealed_under_zeros(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = ENTROPY.token(KEY_SIZE)
    vault = Vault(bytearray(key))
    wiping = threading.Thread(target=vault.wipe)

    class Slow:
        def __init__(self, algorithm: HashAlgorithm, length: int, info: bytes) -> None:
            self._real = HKDFExpand(algorithm, length, info)

        def derive_into(self, secret: bytearray, out: bytearray) -> int:
            if wiping.ident is None:
                wiping.start()
                wiping.join(0.05)
            return self._real.derive_into(secret, out)

    with monkeypatch.context() as patch:
        patch.setattr(module, "HKDFExpand", Slow)
        sealed = vault.seal("thing", b"content", ENTROPY)
    wiping.join()
    assert Vault(bytearray(key)).open("thing", sealed) == b"content"
    with pytest.raises(MisuseError, match="locked"):
        vault.seal("thing", b"content", ENTROPY)

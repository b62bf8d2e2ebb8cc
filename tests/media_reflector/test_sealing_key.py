"""Numbers that are known again without a table."""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from relay.core import SeededEntropy
from relay.media_reflector.forwarding.face import CHECK_KEY_SIZE, TICKET_ID_SIZE
from relay.media_reflector.sealing_key import SealingKey

ENTROPY = SeededEntropy("sealing")
KEY = SealingKey(bytes(range(32)))
NUMBERS = st.binary(min_size=TICKET_ID_SIZE, max_size=TICKET_ID_SIZE)


def test_a_number_is_known_again_by_its_key_alone() -> None:
    for _ in range(100):
        number = KEY.number(ENTROPY)
        assert KEY.made(number)
        assert not SealingKey(bytes(32)).made(number)


def test_every_bit_of_a_number_counts() -> None:
    number = KEY.number(ENTROPY)
    for bit in range(8 * TICKET_ID_SIZE):
        damaged = (int.from_bytes(number) ^ 1 << bit).to_bytes(TICKET_ID_SIZE)
        assert not KEY.made(damaged)
        assert KEY.secret(damaged) != KEY.secret(number)


@given(NUMBERS | st.binary(max_size=40))
def test_no_number_is_made_by_chance(number: bytes) -> None:
    assert not KEY.made(number)


def test_the_check_is_what_the_data_plane_computes() -> None:
    number = KEY.number(ENTROPY)
    # forwarding/face.py, CHECK_SIZE.
    assert AESGCM(KEY.check_key).encrypt(number[:8] + bytes(4), b"", None)[:8] == number[8:]
    assert len(KEY.check_key) == CHECK_KEY_SIZE


def test_who_has_the_check_key_has_no_secret() -> None:
    number = KEY.number(ENTROPY)
    assert KEY.check_key not in KEY.key
    guess = SealingKey(KEY.check_key.ljust(32, b"\0"))
    assert guess.secret(number) != KEY.secret(number)


def test_numbers_look_random() -> None:
    numbers = [KEY.number(ENTROPY) for _ in range(600)]
    for position in range(TICKET_ID_SIZE):
        assert len({number[position] for number in numbers}) > 200

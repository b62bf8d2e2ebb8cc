"""Link control bodies: one size, random filling, no surprise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import MisuseError, SystemEntropy
from relay.media_reflector.control import JOIN_CODE_SIZE, Control, Operation
from relay.rtp.cell import BODY_SIZE


@given(st.sampled_from(Operation), st.binary(min_size=JOIN_CODE_SIZE, max_size=JOIN_CODE_SIZE))
def test_round_trip(operation: Operation, code: bytes) -> None:
    body = Control(operation, code).to_body(SystemEntropy())
    assert len(body) == BODY_SIZE
    assert Control.from_body(body) == Control(operation, code)


@given(st.binary(min_size=BODY_SIZE, max_size=BODY_SIZE))
def test_any_body_is_a_control_or_none(body: bytes) -> None:
    control = Control.from_body(body)
    assert (control is None) == (body[0] not in set(Operation))


def test_the_filling_is_random() -> None:
    bodies = {Control(Operation.CLOSE).to_body(SystemEntropy()) for _ in range(3)}
    assert len(bodies) == 3


def test_misuse() -> None:
    with pytest.raises(MisuseError):
        Control(Operation.JOIN, b"short").to_body(SystemEntropy())

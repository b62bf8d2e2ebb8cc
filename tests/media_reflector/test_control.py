"""Link control bodies: one size, random filling, no surprise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import MisuseError, SystemEntropy
from relay.media_reflector.control import _FIELD_SIZES, LONGEST_SECONDS, Control, Operation
from relay.media_reflector.tickets import Ticket, TicketKind
from relay.rtp.cell import BODY_SIZE

CODE = b"join code of 16 "


@given(st.sampled_from(Operation), st.data())
def test_round_trip(operation: Operation, data: st.DataObject) -> None:
    size = _FIELD_SIZES[operation]
    control = Control(operation, data.draw(st.binary(min_size=size, max_size=size)))
    body = control.to_body(SystemEntropy())
    assert len(body) == BODY_SIZE
    assert Control.from_body(body) == control


@given(st.binary(min_size=BODY_SIZE, max_size=BODY_SIZE))
def test_any_body_is_a_control_or_none(body: bytes) -> None:
    control = Control.from_body(body)
    assert (control is None) == (body[0] not in set(Operation))


def test_every_operation_has_its_number_for_good() -> None:
    """These are on the wire between versions."""
    names = "JOIN CROSSED REFUSED LEAVE CLOSE PROVE ROAM CHALLENGE REKEY REKEYED RESUMPTION BACKUP JOIN_VIA"
    assert [operation.name for operation in sorted(Operation)] == [*names.split(), "DRAINING", "ALIVE"]
    assert sorted(Operation) == list(range(1, 16))
    assert set(_FIELD_SIZES) == set(Operation)


def test_fields() -> None:
    refused = Control.refused(CODE, 90)
    assert (refused.code, refused.seconds) == (CODE, 90)
    via = Control.join_via(CODE, bytes(range(32)))
    assert (via.code, via.identity) == (CODE, bytes(range(32)))
    assert Control.prove_answer(0xFEDCBA98).timestamp == 0xFEDCBA98
    assert len(Control.prove_answer(1).field) == len(bytes(16))


@pytest.mark.parametrize("left", [0.0, 0.9, 600.0, 7199.99, LONGEST_SECONDS, 1e6, -5.0])
def test_tickets_keep_the_seconds_that_are_left(left: float) -> None:
    ticket = Ticket(bytes(range(16)), bytes(range(32)), 5000.0 + left)
    whole = max(0, min(LONGEST_SECONDS, int(ticket.expires - 5000.0)))
    handed = Control.resumption(ticket, 5000.0).ticket(77.0)
    assert handed == Ticket(ticket.id, ticket.secret, 77.0 + whole, TicketKind.RESUMPTION)
    backup = Control.backup(bytes(range(32)), ticket, 5000.0)
    assert backup.identity == bytes(range(32))
    assert backup.ticket(77.0) == Ticket(ticket.id, ticket.secret, 77.0 + whole, TicketKind.BACKUP)


def test_the_filling_is_random() -> None:
    bodies = {Control(Operation.CLOSE).to_body(SystemEntropy()) for _ in range(3)}
    assert len(bodies) == 3


def test_misuse() -> None:
    with pytest.raises(MisuseError):
        Control(Operation.JOIN, b"short").to_body(SystemEntropy())

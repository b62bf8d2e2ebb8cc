"""What a ticket is."""

from relay.media_reflector.forwarding.face import TICKET_ID_SIZE
from relay.media_reflector.tickets import Ticket, TicketKind

SECRET = bytes(range(32))


def test_a_fresh_tickets_number_comes_from_its_secret_and_does_not_give_it_away() -> None:
    ticket = Ticket.fresh(SECRET, 600.0)
    assert ticket == Ticket.fresh(SECRET, 600.0)
    assert ticket.kind is TicketKind.FETCHED
    assert len(ticket.id) == TICKET_ID_SIZE
    assert ticket.id not in SECRET
    assert Ticket.fresh(bytes(32), 600.0).id != ticket.id


def test_a_tickets_text_holds_no_secret() -> None:
    assert repr(SECRET) not in repr(Ticket.fresh(SECRET, 600.0))

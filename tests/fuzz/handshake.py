"""Fuzz target for everything that a reflector reads before it knows with whom it speaks.

`python tests/fuzz/handshake.py`: first messages, answers, cookies, trunk handshakes, requests to the ticket office, its
answers, and what is restored after a restart.  Needs atheris.  Whatever is not a `PeerError` is a finding, and so is
anything that opens.  Messages are also tried with a right mac, as a dishonest owner of a ticket could send them.
"""

import contextlib
import sys

import atheris  # type: ignore[import-untyped, unused-ignore]

with atheris.instrument_imports(include=["relay.media_reflector", "relay.wire"]):
    from relay.core import PeerError, RefusedByPolicy, SeededEntropy
    from relay.media_reflector.cookie import CookieJar
    from relay.media_reflector.first_message import COOKIE_AT, MAC_AT, MESSAGE_SIZE, FirstMessage, noise_part
    from relay.media_reflector.handshake import AgentHandshake, answer_handshake, first_is_authentic
    from relay.media_reflector.keys import ReflectorKeys
    from relay.media_reflector.resumption import TicketKeys
    from relay.media_reflector.ticket_messages import ANSWER_SIZE, REQUEST_SIZE, parse_answer
    from relay.media_reflector.tickets import Ticket
    from relay.media_reflector.trunk_handshake import TrunkInitiator, TrunkResponder
    from relay.wire import pad


class _Gate:
    def permit(self, ticket_id: bytes) -> None:
        raise AssertionError("a ticket out of nothing")

    def forbid(self, ticket_id: bytes) -> None:
        pass

    def check_keys(self, own: object, left: object) -> None:
        pass


ENTROPY = SeededEntropy("fuzz")
KEYS = ReflectorKeys.generate(ENTROPY)
OTHER = ReflectorKeys.generate(ENTROPY)
PUBLIC = KEYS.static_key.public_key().public_bytes_raw()
TICKET = Ticket.fresh(ENTROPY.token(32), 600.0)
AGENT = AgentHandshake(TICKET, PUBLIC, 1, ENTROPY)
TRUNK = TrunkInitiator(TICKET, OTHER.static_key, PUBLIC, 50, ENTROPY)
JAR = CookieJar(ENTROPY)
OFFICE = KEYS.office(10, ENTROPY, _Gate())
OFFICE.accept_peers([OTHER.public_identity])


def one_input(data: bytes) -> None:
    _handshake(data)
    message = data[:MESSAGE_SIZE].ljust(MESSAGE_SIZE, b"\0")
    remade = FirstMessage(TICKET, noise_part(message, TICKET.secret), message[COOKIE_AT:MAC_AT]).message
    assert first_is_authentic(remade, TICKET)
    _handshake(remade)
    for request in (data, pad(data[: REQUEST_SIZE - 4], REQUEST_SIZE)):
        with contextlib.suppress(PeerError):
            OFFICE.answer(request, lambda: b"", 0.0)
    for answer in (data, pad(data[: ANSWER_SIZE - 4], ANSWER_SIZE)):
        with contextlib.suppress(PeerError, RefusedByPolicy):
            parse_answer(answer)
    keys = TicketKeys(ENTROPY)
    if keys.restore(data):
        keys.renew(0.0)
        keys.mint(0.0)


def _handshake(message: bytes) -> None:
    assert AGENT.answered(message) is None
    assert TRUNK.answered(message) is None
    assert TRUNK.answered(TRUNK.answer_id + message[16:]) is None
    JAR.good(message, bytes(18), 0.0)
    for answer in (
        lambda: answer_handshake(message, TICKET, KEYS.static_key, 1, 2, ENTROPY),
        lambda: TrunkResponder(message, TICKET, KEYS.static_key, PUBLIC),
    ):
        try:
            answer()
        except PeerError:
            continue
        raise AssertionError("opened by chance")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

"""Sealed messages of a test's making, from alice to bob: good ones and hostile ones."""

from collections.abc import Callable

from relay.agent.sealed_dialog import SealedDialog
from relay.core import SystemEntropy
from relay.forward_publish import Peer, Reply, seal_ring
from relay.sip.opus_offer import neutral_offer
from tests.agent.people import ONIONS, World

CODE = bytes(16)
PLACE = "d" * 32


def ring_from_alice(
    world: World,
    *,
    places: tuple[str, ...] = (PLACE,),
    sip: Callable[[bytes], bytes] = lambda sip: sip,
    reply: Reply | None = None,
) -> bytes:
    """A ring as alice's agent would seal it, or a hostile one of her making."""
    alice, bob = world.alice, world.bob
    contact = alice.book.find("bob")
    assert contact is not None
    assert contact.whereabouts is not None
    uris = [f"sip:{person.address}.bayonne.alt" for person in (alice, bob)]
    dialog = SealedDialog(uris[0], uris[1], SystemEntropy())
    offer = neutral_offer(address="192.0.2.1", port=9, session_id=1)
    body, _ = seal_ring(
        alice.agent._identity,
        Peer(contact.public_key, contact.secret),
        contact.whereabouts.prekey,
        sip(dialog.invite(offer, places, CODE, 28.0)),
        reply or Reply(ONIONS["alice"], contact.token.token),
        world.clock,
        SystemEntropy(),
    )
    return body


async def to_bob(world: World, body: bytes) -> None:
    await world.bob.receive(token_for_alice(world), body)


def token_for_alice(world: World) -> str:
    contact = world.bob.book.find("alice")
    assert contact is not None
    return contact.token.token


def note_from_alice(world: World, sip: bytes) -> bytes:
    contact = world.alice.book.find("bob")
    assert contact is not None
    return world.alice.agent._correspondence.seal_note(contact, sip)

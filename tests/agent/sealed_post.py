"""Sealed messages of a test's making, from alice to bob: good ones and hostile ones."""

from collections.abc import Callable

from relay.agent.sealed_dialog import SealedDialog
from relay.agent.sealed_voice import SealedVoice
from relay.agent.voice_security import End
from relay.core import SystemEntropy
from relay.forward_publish import Peer, Reply, seal_ring
from relay.sip.line_voice import NEUTRAL
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
    voice = SealedVoice(End.AGENT, NEUTRAL, (f"1.10 {1:064x}",))
    body, _ = seal_ring(
        alice.agent._identity,
        Peer(contact.public_key, contact.secret),
        contact.whereabouts.prekey,
        sip(dialog.invite(voice, places, CODE, 28.0)),
        reply or Reply(ONIONS["alice"], alice.token_for("bob")),
        world.clock,
        SystemEntropy(),
    )
    return body


async def to_bob(world: World, body: bytes) -> None:
    await world.bob.receive(token_for_alice(world), body)


def token_for_alice(world: World) -> str:
    return world.bob.token_for("alice")


def note_from_alice(world: World, sip: bytes) -> bytes:
    contact = world.alice.book.find("bob")
    assert contact is not None
    return world.alice.agent._correspondence.seal_note(contact, sip)

"""A contact point that knows every identity there is, and not one pairwise secret, looks for whose its things are.

A hundred contacts are published, looked up and called, by the agents' own parts and through a real contact point.  The
adversary (`tests.knowledge.adversary`) has all of that one's database, files, log and memory, and all that passed by
every circuit; times are `make linking`'s matter.  Where the secrets are none, where agents use one circuit for
everything, and where a flow says which agent it is of, the same adversary must succeed.
"""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import pytest_asyncio

from relay.agent.flow_session import FlowSession
from relay.contact_cache import Row
from relay.core import Entropy, SeededEntropy, SystemEntropy
from tests.knowledge.adversary import (
    Named,
    bound_on,
    buckets_asked,
    circuits_linked,
    duties,
    named,
    put_by,
    records_linked,
    targets_of,
    tokens_linked,
)
from tests.knowledge.everybody import Everybody, Seen, Truth, open_everybody, public_secret
from tests.knowledge.needles import search

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

PEOPLE = 20
CONTACTS = 100
FEW = 12
"""Contacts where a control needs no more."""

Held = tuple[Seen, Truth]


async def held(world: Everybody, contacts: int, seed: str, *, secrets: bool = True) -> Held:
    entropy: Entropy = SystemEntropy()
    pairs = world.introduce(
        contacts, SeededEntropy(seed), (lambda _: entropy.token(32)) if secrets else public_secret
    )
    await world.live(pairs)
    return await world.seen(() if secrets else tuple(public_secret(number) for number in range(contacts)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hundred(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Held]:
    async with open_everybody(tmp_path_factory.mktemp("hundred"), PEOPLE) as world:
        yield await held(world, CONTACTS, "hundred")


def tied(truth: Truth, seen: Seen) -> set[tuple[str, str]]:
    """Pairs of tokens of different flows that do have one owner."""
    flow_of = {token: number for number, one in enumerate(seen.circuits) for token in bound_on(one)}
    return {
        (a, b)
        for a, b in combinations(sorted(truth.tokens), 2)
        if truth.tokens[a] == truth.tokens[b] and flow_of[a] != flow_of[b]
    }


async def test_it_saw_everything_that_it_is_said_to_have_seen(hundred: Held) -> None:
    seen, truth = hundred
    assert len(seen.rows) == len(truth.records) == 2 * CONTACTS
    assert {row.key for row in seen.rows} == truth.records.keys()
    assert set().union(*(put_by(one, seen.rows) for one in seen.circuits)) == truth.records.keys()
    assert set().union(*(bound_on(one) for one in seen.circuits)) == truth.tokens.keys()
    rung = Counter(token for one in seen.circuits for token in targets_of(one))
    assert len(rung) == 2 * CONTACTS, "one of each pair was rung, the other one answered"
    assert sum(bool(buckets_asked(one)) for one in seen.circuits) >= 2 * CONTACTS
    assert len(tied(truth, seen)) > 100


async def test_it_finds_the_owner_of_no_record_and_of_no_token(hundred: Held) -> None:
    seen, _ = hundred
    assert named(seen) == Named({}, {})


async def test_it_ties_no_two_records_and_no_two_tokens_together(hundred: Held) -> None:
    seen, _ = hundred
    assert records_linked(seen.rows) == set()
    assert tokens_linked(seen) == set()
    assert circuits_linked(seen) == set()


async def test_every_circuit_does_one_thing(hundred: Held) -> None:
    seen, _ = hundred
    assert {duties(one, seen.rows) for one in seen.circuits} <= {0, 1}
    assert max(len(bound_on(one)) for one in seen.circuits) <= 8


async def test_nobodys_identity_nor_secret_is_anywhere_in_it(hundred: Held) -> None:
    seen, truth = hundred
    assert {"memory", "log", "circuits", "contact-point/records.db"} <= seen.places.keys()
    assert search(truth.needles, seen.places) == []


async def test_where_blinding_is_switched_off_it_names_every_record_and_every_token(tmp_path: Path) -> None:
    """Pairwise secrets that everybody knows: keys are blinded by what blinds nothing."""
    async with open_everybody(tmp_path, 6) as world:
        seen, truth = await held(world, FEW, "known", secrets=False)
    assert named(seen) == Named(truth.records, truth.tokens)
    assert tokens_linked(seen) == tied(truth, seen) != set()
    blind = named(replace(seen, secrets=()))
    assert blind == Named({}, {}), "it was these secrets that told"


async def test_where_an_agent_has_one_circuit_everything_is_tied_together(tmp_path: Path) -> None:
    async with open_everybody(tmp_path, 6, careless=True) as world:
        seen, truth = await held(world, FEW, "careless")
    assert len(seen.circuits) == 6
    assert all(duties(one, seen.rows) > 1 for one in seen.circuits)
    whose = {
        key: truth.circuits[number]
        for number, one in enumerate(seen.circuits)
        for key in put_by(one, seen.rows)
    }
    assert whose == truth.records


async def test_where_flows_say_which_agent_they_are_of_tokens_are_tied_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One instance id for all flows of an agent, as RFC 5626 would have it (section 4.1)."""
    begin = FlowSession._begin

    def telling(session: FlowSession, key: object, expires: int) -> bytes:
        session._instance = f"{id(session.entropy):032x}"
        return begin(session, key, expires)  # type: ignore[arg-type]

    monkeypatch.setattr(FlowSession, "_begin", telling)
    async with open_everybody(tmp_path, 6) as world:
        seen, truth = await held(world, FEW, "telling")
    assert tokens_linked(seen) == tied(truth, seen) != set()


@pytest.mark.parametrize("leak", ["identity", "prekey", "time"])
async def test_and_it_finds_what_a_careless_record_would_show(hundred: Held, leak: str) -> None:
    """The links it looks for are links that it would see."""
    seen, truth = hundred
    of_one = Counter(truth.records.values()).most_common(1)[0][0]
    leaking = []
    for number, row in enumerate(row for row in seen.rows if truth.records[row.key] == of_one):
        body, revision = bytearray(row.body), row.revision
        if leak == "identity":
            body[100:132] = of_one
        elif leak == "prekey" and number < 2:
            body[500:532] = b"bytes of one prekey, in the clear"[:32]
        elif leak == "time" and number < 2:
            revision += 1
        leaking.append(Row(row.kind, row.key, revision, row.expires, bytes(body)))
    others = [row for row in seen.rows if truth.records[row.key] != of_one]
    if leak == "identity":
        found = named(replace(seen, rows=(*leaking, *others)))
        assert found.records == {row.key: of_one for row in leaking}
    else:
        pair = min(leaking[0].key, leaking[1].key), max(leaking[0].key, leaking[1].key)
        assert pair in records_linked([*leaking, *others])


@pytest.mark.parametrize("place", ["memory", "log", "circuits", "contact-point/records.db"])
async def test_and_it_finds_an_identity_wherever_it_were_kept(hundred: Held, place: str) -> None:
    seen, truth = hundred
    name = "identity of person007"
    kept = seen.places[place] + b" " + truth.needles[name][1]
    assert search(truth.needles, {place: kept}) == [f"{name} in {place}"]

"""The contact point in this process: bind, message, records, and what hostile streams get."""

import asyncio
import contextlib
import itertools
import stat
from pathlib import Path
from typing import Any

import pytest

from relay.contact_cache import Row
from relay.contact_cache.database import ENTRIES, PAGE_SIZE
from relay.core import ConfigurationError, ManualClock, SystemClock, SystemEntropy, TransportUnavailable
from relay.forward_publish import (
    ANSWER_SIZE,
    BASE_BITS,
    CLOCK_SKEW,
    PERIOD,
    REQUEST_SIZE,
    SEALED_SIZE,
    ContactPointLimits,
    ContactRecord,
    Digests,
    Entry,
    EntryKind,
    Fetch,
    Peers,
    Prekey,
    Put,
    PutAnswer,
    PutResult,
    ReachableAt,
    RecordStatus,
    RecordUse,
    StoredRecord,
    Summary,
    TokenKey,
    Want,
    coarse_revision,
    current_period,
    do_work,
    latest_expiry,
    parse_digests,
    parse_peers,
    parse_slots,
    parse_summary,
    seal_record,
)
from relay.forward_publish.binding_text import format_credentials, parse_challenge
from relay.identity import Identity
from relay.node import contact_point, recounting
from relay.node.contact_point_settings import ContactPointSettings
from relay.sip import Headers, Message, MessageStream, Request, Response
from relay.wire import exchange, frame, read_frame
from tests.node.descriptors import any_descriptor
from tests.node.fake_tor import until

Node = Any  # the fixtures of conftest.py, which cannot be imported by name
ONION = "b" * 56
BODY = bytes(range(256)) * 16
_UNTIL = 5.0


class Caller:
    """One SIP connection to the node, spoken by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.stream = MessageStream(expects_pongs=True)
        self.waiting: list[Message] = []

    @classmethod
    async def to(cls, tor: Any) -> "Caller":
        return cls(*await tor.open(ONION, 5060, isolation="test"))

    async def next(self) -> Message:
        async with asyncio.timeout(_UNTIL):
            while not self.waiting:
                data = await self.reader.read(65536)
                assert data, "closed"
                self.waiting += self.stream.receive(data)
        return self.waiting.pop(0)

    async def ask(self, request: Request) -> Response:
        self.writer.write(request.to_bytes())
        answer = await self.next()
        assert isinstance(answer, Response)
        return answer

    async def wait_closed(self) -> None:
        """Return once the other side has closed; fails when it does not."""
        try:
            async with asyncio.timeout(_UNTIL):
                while await self.reader.read(65536):
                    pass
        except ConnectionError:
            pass
        finally:
            self.writer.close()


def request(method: str, token: str, body: bytes = b"", *, host: str = f"{ONION}.onion") -> Request:
    uri = f"sip:{token}@{host};transport=tcp"
    headers = Headers(
        [
            ("Via", "SIP/2.0/TCP anonymous.invalid;branch=z9hG4bKx"),
            ("Max-Forwards", "70"),
            ("From", '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'),
            ("To", f"<{uri}>"),
            ("Call-ID", "call"),
            ("CSeq", f"1 {method}"),
        ]
    )
    if body:
        headers.add("Content-Type", "application/vnd.bayonne.sealed")
    return Request(method, uri, headers, body)


async def bind(caller: Caller, key: TokenKey, *, expires: str = "3600", onion: str = ONION) -> int:
    register = request("REGISTER", key.token)
    register.headers.add("Expires", expires)
    challenge = await caller.ask(register)
    assert challenge.status == 401
    nonce = parse_challenge(challenge.headers.get("WWW-Authenticate") or "")
    register.headers.add("Authorization", format_credentials(key.answer(nonce, onion)))
    return (await caller.ask(register)).status


@pytest.mark.parametrize("mode", ["own", "running"])
async def test_a_message_goes_down_the_flow_and_the_sender_is_told_202(start_node: Node, mode: str) -> None:
    node, tor = await start_node(mode=mode)
    listener, sender = await Caller.to(tor), await Caller.to(tor)
    key = TokenKey.generate(SystemEntropy())
    assert await bind(listener, key) == 200
    answer = await sender.ask(request("MESSAGE", key.token, BODY))
    assert (answer.status, answer.body) == (202, b"")
    came = await listener.next()
    assert isinstance(came, Request)
    assert (came.method, came.body, came.to.sip_uri.user) == ("MESSAGE", BODY, key.token)
    assert node.counters["messages forwarded"] == 1


async def test_the_sender_cannot_tell_whether_a_token_is_bound(start_node: Node) -> None:
    node, tor = await start_node()
    listener, sender = await Caller.to(tor), await Caller.to(tor)
    bound, unbound = TokenKey.generate(SystemEntropy()), TokenKey.generate(SystemEntropy())
    assert await bind(listener, bound) == 200
    answers = [await sender.ask(request("MESSAGE", key.token, BODY)) for key in (bound, unbound)]
    for answer in answers:
        assert answer.to.tag
        answer.headers.remove("To")  # it names the token that was asked for
    assert answers[0].to_bytes() == answers[1].to_bytes()
    assert node.counters["messages without a flow"] == 1


async def test_bindings_are_proved_and_can_be_taken_back(start_node: Node) -> None:
    node, tor = await start_node()
    listener, sender = await Caller.to(tor), await Caller.to(tor)
    key = TokenKey.generate(SystemEntropy())
    forged = TokenKey(TokenKey.generate(SystemEntropy()).seed, key.token)
    assert await bind(listener, forged) == 403
    assert await bind(listener, key, onion="c" * 56) == 403
    assert await bind(listener, key) == 200
    assert await bind(listener, key, expires="0") == 200
    assert (await sender.ask(request("MESSAGE", key.token, BODY))).status == 202
    assert node.counters["messages without a flow"] == 1
    assert (await listener.ask(request("REGISTER", "alice"))).status == 404
    assert (await listener.ask(request("REGISTER", key.token, host="example.onion"))).status == 404


async def test_the_end_of_a_flow_frees_its_tokens(start_node: Node) -> None:
    node, tor = await start_node()
    listener, sender = await Caller.to(tor), await Caller.to(tor)
    key = TokenKey.generate(SystemEntropy())
    await bind(listener, key)
    listener.writer.close()
    await listener.writer.wait_closed()
    for _ in range(100):
        if node._point.tokens == 0:
            break
        await asyncio.sleep(0.01)
    assert (node._point.tokens, node._point.flows) == (0, 1)
    assert (await sender.ask(request("MESSAGE", key.token, BODY))).status == 202


async def test_what_else_is_asked(start_node: Node) -> None:
    _, tor = await start_node()
    caller = await Caller.to(tor)
    statuses = {}
    for method in ("INVITE", "SUBSCRIBE", "BYE", "OPTIONS"):
        statuses[method] = (await caller.ask(request(method, "alice"))).status
    assert statuses == {"INVITE": 405, "SUBSCRIBE": 405, "BYE": 405, "OPTIONS": 200}
    token = TokenKey.generate(SystemEntropy()).token
    assert (await caller.ask(request("MESSAGE", token, BODY[1:]))).status == 400
    assert (await caller.ask(request("MESSAGE", token, BODY + b"x"))).status == 413
    text = request("MESSAGE", token, BODY)
    text.headers.set("Content-Type", "text/plain")
    assert (await caller.ask(text)).status == 415
    caller.writer.write(b"\r\n\r\n")
    caller.writer.write(request("ACK", "alice").to_bytes())
    assert (await caller.ask(request("OPTIONS", "alice"))).status == 200
    assert caller.stream.pongs == 1


def _lying_length() -> bytes:
    return (
        request("MESSAGE", "a" * 52, BODY)
        .to_bytes()
        .replace(b"Content-Length: 4096", b"Content-Length: 4000")
        * 2
    )


HOSTILE = {
    "garbage": b"\x00\xff\x80garbage\r\n\r\n",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "64 kB of head": b"MESSAGE sip:a@b SIP/2.0\r\nSubject: " + b"x" * 65536,
    "64 kB of body": request("MESSAGE", "a" * 52, bytes(60000)).to_bytes(),
    "a length that is too short": _lying_length(),
    "a length without end": b"MESSAGE sip:a@b SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n",
    "a negative length": b"MESSAGE sip:a@b SIP/2.0\r\nContent-Length: -1\r\n\r\n",
    "no length": request("OPTIONS", "a").to_bytes().replace(b"Content-Length: 0\r\n", b""),
    "folded nonsense": b"OPTIONS sip:a@b SIP/2.0\r\nFrom:\r\n  \r\n\tx\r\nContent-Length: 0\r\n\r\n",
    "another scheme": request("MESSAGE", "a" * 52, BODY)
    .to_bytes()
    .replace(b"MESSAGE sip:", b"MESSAGE tel:", 1),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_streams_are_closed_and_counted(start_node: Node, name: str) -> None:
    node, tor = await start_node()
    bystander, caller = await Caller.to(tor), await Caller.to(tor)
    caller.writer.write(HOSTILE[name])
    await caller.wait_closed()
    assert node.counters["streams malformed"] == 1
    assert (await bystander.ask(request("OPTIONS", "a"))).status == 200


async def test_too_many_requests_or_connections(start_node: Node) -> None:
    node, tor = await start_node(limits=ContactPointLimits(connections=2, burst=5))
    flooder, bystander = await Caller.to(tor), await Caller.to(tor)
    assert (await bystander.ask(request("OPTIONS", "a"))).status == 200
    await (await Caller.to(tor)).wait_closed()
    assert node.counters["flows refused"] == 1
    flooder.writer.write(request("OPTIONS", "a").to_bytes() * 100)
    await flooder.wait_closed()
    assert node.counters["messages over the rate"] == 1


async def test_who_binds_no_token_is_cut_off_however_busy(
    start_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_point, "SENDER_LIFE", 0.5)
    node, tor = await start_node(clock=SystemClock())
    listener, dribbler, late = [await Caller.to(tor) for _ in range(3)]
    key = TokenKey.generate(SystemEntropy())
    assert await bind(listener, key) == 200

    async def dribble() -> None:
        while True:
            dribbler.writer.write(b"\r\n\r\n")
            await asyncio.sleep(0.02)

    dribbling = asyncio.create_task(dribble())
    try:
        await dribbler.wait_closed()
    finally:
        dribbling.cancel()
        await asyncio.gather(dribbling, return_exceptions=True)
    await late.wait_closed()
    assert node.counters["connections idle"] == 2
    sender = await Caller.to(tor)
    assert (await sender.ask(request("MESSAGE", key.token, BODY))).status == 202
    assert isinstance(await listener.next(), Request)


async def ask(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> bytes:
    reader, writer = stream
    writer.write(frame(request))
    return await read_frame(reader, ANSWER_SIZE)


def any_record(now: float) -> StoredRecord:
    entropy, period = SystemEntropy(), current_period(now)
    record = ContactRecord(
        RecordUse.PAIRWISE,
        RecordStatus.OPEN,
        (ReachableAt(bytes(35), bytes(32)),),
        Prekey.generate(entropy, now).public,
        coarse_revision(now),
        latest_expiry(period),
    )
    return seal_record(record, Identity.generate(entropy), entropy.token(32), period, entropy)


def put_of(entry: Entry) -> bytes:
    return Put.of(entry, do_work(entry, BASE_BITS)).to_bytes()


async def test_one_connection_leaves_few_records(start_node: Node) -> None:
    clock = ManualClock()
    node, tor = await start_node(limits=ContactPointLimits(puts_per_connection=2), clock=clock)
    put = put_of(any_record(clock.wall()))
    stream = await tor.open(ONION, 7221, isolation="r")
    for _ in range(2):
        assert PutAnswer.parse(await ask(stream, put)).result is PutResult.ACCEPTED
    stream[1].write(frame(put))
    async with asyncio.timeout(_UNTIL):
        assert await stream[0].read() == b""
    stream[1].close()
    assert node.counters["entries over the connection"] == 1
    assert await exchange(tor, ONION, 7221, put, isolation="r", limit=ANSWER_SIZE)


async def test_every_request_of_the_record_port(start_node: Node) -> None:
    clock = ManualClock()
    node, tor = await start_node(clock=clock, peers=("c" * 56,))
    record, descriptor = any_record(clock.wall()), any_descriptor(clock.wall())
    stream = await tor.open(ONION, 7221, isolation="r")
    for entry in (record, descriptor):
        assert PutAnswer.parse(await ask(stream, put_of(entry))).result is PutResult.ACCEPTED
    for kind, entry in ((EntryKind.RECORD, record), (EntryKind.DESCRIPTOR, descriptor)):
        fetch, summary = Fetch(kind), Summary(kind)
        digests, want = Digests(kind), Want(kind, [entry.key[:16]])
        answers = [await ask(stream, asked.to_bytes()) for asked in (fetch, digests, summary, want)]
        assert {len(answer) for answer in answers} == {ANSWER_SIZE}
        assert parse_slots(answers[0], fetch)[1] == [entry.body]
        assert sum(count for _, count in parse_digests(answers[1], digests)) == 1
        assert parse_summary(answers[2], summary)[0][:2] == (entry.key[:16], entry.revision)
        assert parse_slots(answers[3], want)[1] == [entry.body]
    peers = Peers()
    assert parse_peers(await ask(stream, peers.to_bytes()), peers) == []  # the seed never answered
    stream[1].close()
    assert node.counters["entries stored"] == 2


async def test_what_expires_goes(start_node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact_point, "SWEEP_EVERY", 0.02)
    clock = ManualClock()
    node, tor = await start_node(clock=clock)
    put = put_of(any_record(clock.wall()))
    await exchange(tor, ONION, 7221, put, isolation="r", limit=ANSWER_SIZE)
    assert await node._store.count(EntryKind.RECORD) == 1
    clock.advance(2 * PERIOD + CLOCK_SKEW + 1)
    await until(lambda: not node._store.counts(EntryKind.RECORD).any())


async def test_what_ends_though_it_has_to_go_on_is_said_by_kind_alone(
    start_node: Node, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contact_point, "SWEEP_EVERY", 0.02)
    node, _ = await start_node()

    async def fail(_before: float) -> int:
        raise ValueError("a record's key")

    monkeypatch.setattr(node._office, "expire", fail)
    said = ""

    def told() -> bool:
        nonlocal said
        said += "".join(capfd.readouterr())
        return "ValueError" in said

    await until(told)
    assert "record's key" not in said


async def fill_up(node: Any, expires: int) -> None:
    """Leave no room for even one entry."""
    rows = (Row(EntryKind.LISTING, number.to_bytes(32), 1, expires, bytes(2040)) for number in range(2000))
    for together in (64, 8, 1):
        with contextlib.suppress(TransportUnavailable):
            while batch := list(itertools.islice(rows, together)):
                await node._store.put_many(batch)
            raise AssertionError("the disk is never full")


async def test_a_full_disk_is_told_to_the_operator_and_to_publishers_and_reads_go_on(
    start_node: Node, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "relay.contact_cache.database._PRAGMAS",
        (f"PRAGMA page_size={PAGE_SIZE}", "PRAGMA max_page_count=32", "PRAGMA journal_mode=WAL"),
    )
    clock = ManualClock()
    node, tor = await start_node(clock=clock)
    soon = int(clock.wall()) + PERIOD
    kept = any_record(clock.wall())
    stream = await tor.open(ONION, 7221, isolation="r")
    assert PutAnswer.parse(await ask(stream, put_of(kept))).result is PutResult.ACCEPTED
    await fill_up(node, soon)
    refused = [any_record(clock.wall()) for _ in range(40)]
    results = []
    for record in refused:
        answer = await exchange(tor, ONION, 7221, put_of(record), isolation="r", limit=ANSWER_SIZE)
        results.append(PutAnswer.parse(answer).result)
    assert results[-1] is PutResult.FULL
    fetch = Fetch(EntryKind.RECORD)
    assert kept.body in parse_slots(await ask(stream, fetch.to_bytes()), fetch)[1]
    said = "".join(capfd.readouterr())
    assert said.count("disk is full") == 1
    assert node.counters["store failures"] == results.count(PutResult.FULL) > 0
    # There is room again: what had expired is gone.
    clock.advance(PERIOD - 600)
    assert await node._store.expire(soon + 1)
    answer = await ask(stream, put_of(any_record(clock.wall())))
    assert PutAnswer.parse(answer).result is PutResult.ACCEPTED
    stream[1].close()
    said = "".join(capfd.readouterr())
    assert (said.count("takes entries again"), said.count("disk is full")) == (1, 0)
    assert not any(entry.key.hex() in said for entry in (kept, *refused))


async def test_a_database_that_is_out_of_reach_is_told_to_publishers(
    start_node: Node, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = ManualClock()
    node, tor = await start_node(clock=clock)

    async def fail(_work: object) -> None:
        raise TransportUnavailable(ENTRIES.silent)

    node._store._database.write = node._store._database.read = fail
    stream = await tor.open(ONION, 7221, isolation="r")
    for _ in range(3):
        answer = await ask(stream, put_of(any_record(clock.wall())))
        assert PutAnswer.parse(answer).result is PutResult.FULL
    stream[1].close()
    assert "".join(capfd.readouterr()).count("does not answer") == 1


async def test_what_another_program_of_a_cluster_wrote_is_counted(
    start_node: Node, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    monkeypatch.setattr(recounting, "EVERY", 0.05)
    clock = ManualClock()
    node, _ = await start_node(clock=clock, database=postgres_url)
    _, tor = await start_node(clock=clock, database=postgres_url, state="other")
    await exchange(tor, ONION, 7221, put_of(any_record(clock.wall())), isolation="r", limit=ANSWER_SIZE)
    await until(lambda: node._store.counts(EntryKind.RECORD).any())
    assert await node._store.count(EntryKind.RECORD) == 1


async def test_one_line_names_another_database(start_node: Node, tmp_path: Path, postgres_url: str) -> None:
    clock = ManualClock()
    _, tor = await start_node(clock=clock, database=postgres_url)
    record = any_record(clock.wall())
    await exchange(tor, ONION, 7221, put_of(record), isolation="r", limit=ANSWER_SIZE)
    fetch = Fetch(EntryKind.RECORD)
    answer = await exchange(tor, ONION, 7221, fetch.to_bytes(), isolation="r", limit=ANSWER_SIZE)
    assert parse_slots(answer, fetch)[1] == [record.body]
    assert not (tmp_path / "state" / "records.db").exists()


@pytest.mark.parametrize("peers", [("x",), ("a" * 56 + ".onion",), ("a" * 56,) * 65])
def test_peers_are_onion_names(peers: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="peers"):
        ContactPointSettings("state", peers=peers).check()


async def test_records_over_the_stream(start_node: Node) -> None:
    node, tor = await start_node()
    fetch = Fetch(EntryKind.RECORD).to_bytes()
    answer = await exchange(tor, ONION, 7221, fetch, isolation="r", limit=ANSWER_SIZE)
    assert len(answer) == ANSWER_SIZE
    stream = await tor.open(ONION, 7221, isolation="r")
    for _ in range(2):
        assert len(await ask(stream, fetch)) == ANSWER_SIZE
    stream[1].close()
    assert node.counters["streams malformed"] == 0
    for hostile in (b"\xff" * 8, frame(bytes(REQUEST_SIZE)), frame(b"x" * 10), frame(fetch)[:-1]):
        reader, writer = await tor.open(ONION, 7221, isolation="r")
        writer.write(hostile)
        writer.write_eof()
        async with asyncio.timeout(_UNTIL):
            assert await reader.read() == b""
        writer.close()
    assert node.counters["streams malformed"] == 4


async def test_state_is_private_and_the_key_is_kept(start_node: Node, tmp_path: Path) -> None:
    node, _ = await start_node()
    directory = tmp_path / "state"
    for path, mode in (
        (directory, 0o700),
        (directory / "onion.key", 0o600),
        (directory / "records.db", 0o600),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    await node.close()
    _, again = await start_node()
    assert [key.text for key in again.keys] == ["ED25519-V3:kept"]


async def test_strangers_pay_with_work(start_node: Node) -> None:
    _, tor = await start_node()
    assert tor.proof_of_work


def _sockets(tor: Any) -> list[Path]:
    return [path for path in tor.ports.values() if isinstance(path, Path)]


async def test_its_sockets_lie_in_the_state_directory_and_go_with_it(
    start_node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_point, "_LONGEST_SOCKET_PATH", 107)  # pytest's own directories are long
    for crashed in (True, False):
        node, tor = await start_node()
        sockets = _sockets(tor)
        assert {path.parent for path in sockets} == {tmp_path / "state"}
        if crashed:
            continue  # the next one takes their place
        assert (await (await Caller.to(tor)).ask(request("OPTIONS", "a"))).status == 200
        await node.close()
        assert [path for path in sockets if path.exists()] == []


async def test_sockets_that_need_a_shorter_place_leave_nothing_behind(start_node: Node) -> None:
    node, tor = await start_node(state="deep/" * 20 + "state")
    sockets = _sockets(tor)
    (place,) = {path.parent for path in sockets}
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    await node.close()
    assert not place.exists()


async def test_nothing_about_a_message_reaches_log_or_disk(
    start_node: Node, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    taps: list[tuple[str, bytes]] = []
    node, tor = await start_node(taps=taps)
    listener, sender = await Caller.to(tor), await Caller.to(tor)
    key = TokenKey.generate(SystemEntropy())
    await bind(listener, key)
    await sender.ask(request("MESSAGE", key.token, BODY))
    await listener.next()
    await node.close()
    assert {stream for stream, _ in taps} == {"sip in", "sip out"}
    assert any(BODY in data for _, data in taps)  # the tap sees what is looked for below
    kept = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    printed = "".join(capfd.readouterr())
    assert len(BODY) == SEALED_SIZE
    assert BODY[:64] not in kept
    assert key.token.encode() not in kept
    assert key.token not in printed
    assert "stopped" in printed  # so that the log was looked at
    assert ONION not in printed

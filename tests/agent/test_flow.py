"""The agent's flow against a real contact point in this process: binding, messages, loss and return."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from relay.agent.circuits import MessageSender
from relay.agent.flow import FlowClient, FlowTimes
from relay.agent.flow_session import FlowSession
from relay.core import (
    ManualClock,
    MisuseError,
    PeerError,
    SeededEntropy,
    SystemClock,
    SystemEntropy,
    TransportUnavailable,
)
from relay.forward_publish import SEALED_SIZE, TokenKey
from relay.node.contact_point import ContactPointNode
from relay.node.contact_point_settings import ContactPointSettings
from relay.sip import MessageStream, Request, Response
from relay.tor import OnionKey, OnionService, TorSettings

ONION = "b" * 56
BODY = bytes(range(256)) * 16
QUICK = FlowTimes(ping=60.0, answer=3.0, first_backoff=0.02, most_backoff=0.05)
_UNTIL = 5.0


class LoopbackTor:
    """Publishes and opens, as Tor would, on this machine's own sockets; can be cut off."""

    def __init__(self) -> None:
        self.ports: dict[int, tuple[str, int] | Path] = {}
        self.isolations: list[str] = []
        self.cut = False
        self.writers: list[asyncio.StreamWriter] = []

    async def publish(
        self,
        key: OnionKey | None,
        ports: Mapping[int, tuple[str, int] | Path],
        *,
        proof_of_work: bool = False,
    ) -> OnionService:
        self.ports = dict(ports)
        return OnionService(ONION, OnionKey("ED25519-V3:kept"), self._remove)

    async def _remove(self) -> None:
        self.ports = {}

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.isolations.append(isolation)
        target = self.ports.get(port)
        if self.cut or onion != ONION or not isinstance(target, Path):
            raise TransportUnavailable("nobody there")
        reader, writer = await asyncio.open_unix_connection(target)
        self.writers.append(writer)
        return reader, writer

    def lose_everything(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


class Inbox:
    """Collects what comes down a flow."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    def __call__(self, token: str, body: bytes) -> None:
        self.queue.put_nowait((token, body))

    async def next(self) -> tuple[str, bytes]:
        async with asyncio.timeout(_UNTIL):
            return await self.queue.get()


@pytest.fixture
async def tor(tmp_path: Path) -> AsyncIterator[LoopbackTor]:
    loopback = LoopbackTor()
    settings = ContactPointSettings(str(tmp_path / "state"), tor=TorSettings())
    node = ContactPointNode(settings, loopback, ManualClock(), SystemEntropy())
    await node.start()
    yield loopback
    await node.close()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come to that")


def keys(count: int) -> list[TokenKey]:
    return [TokenKey.generate(SystemEntropy()) for _ in range(count)]


async def test_messages_come_down_for_every_token(tor: LoopbackTor) -> None:
    inbox, tokens = Inbox(), keys(8)
    flow = FlowClient(tor, ONION, tokens, SystemClock(), SystemEntropy(), inbox, times=QUICK)
    assert not flow.connected
    flow.start()
    try:
        await flow.wait_connected(_UNTIL)
        for key in (tokens[0], tokens[7]):
            await MessageSender(tor, SystemEntropy()).send(ONION, key.token, BODY)
            assert await inbox.next() == (key.token, BODY)
        await MessageSender(tor, SystemEntropy()).send(
            ONION, keys(1)[0].token, BODY
        )  # nobody has it; the sender cannot tell
        with pytest.raises(MisuseError):
            flow.add_token(keys(1)[0])
    finally:
        await flow.close()
    assert not flow.connected


async def test_the_flow_has_a_circuit_of_its_own_that_names_nobody(tor: LoopbackTor) -> None:
    (key,) = keys(1)
    flow = FlowClient(tor, ONION, [key], SystemClock(), SystemEntropy(), Inbox(), times=QUICK)
    flow.start()
    try:
        await flow.wait_connected(_UNTIL)
        await MessageSender(tor, SystemEntropy()).send(ONION, key.token, BODY)
    finally:
        await flow.close()
    assert len(set(tor.isolations)) == 2
    assert not any(key.token[:8] in label for label in tor.isolations)


async def test_a_lost_flow_comes_back_with_its_tokens(tor: LoopbackTor) -> None:
    inbox, changes, (key,) = Inbox(), list[bool](), keys(1)
    flow = FlowClient(
        tor,
        ONION,
        [key],
        SystemClock(),
        SystemEntropy(),
        inbox,
        on_change=lambda: changes.append(flow.bound == {key.token}),
        times=QUICK,
    )
    tor.cut = True
    flow.start()
    try:
        with pytest.raises(TransportUnavailable):
            await flow.wait_connected(0.1)
        tor.cut = False
        await flow.wait_connected(_UNTIL)
        tor.lose_everything()
        await until(lambda: changes == [True, False, True])
        await MessageSender(tor, SystemEntropy()).send(ONION, key.token, BODY)
        assert await inbox.next() == (key.token, BODY)
    finally:
        await flow.close()
    assert len({label for label in tor.isolations if label.startswith("flow-")}) == len(
        [label for label in tor.isolations if label.startswith("flow-")]
    )


async def test_a_flow_that_waits_can_be_hurried(tor: LoopbackTor) -> None:
    patient = replace(QUICK, first_backoff=1000.0, most_backoff=1000.0)
    flow = FlowClient(tor, ONION, keys(1), SystemClock(), SystemEntropy(), Inbox(), times=patient)
    tor.cut = True
    flow.start()
    try:
        await until(lambda: len(tor.isolations) == 1)
        tor.cut = False
        flow.hurry()
        await flow.wait_connected(_UNTIL)
    finally:
        await flow.close()


async def test_tokens_come_and_go_on_a_flow_that_is_up(tor: LoopbackTor) -> None:
    inbox, (first, second) = Inbox(), keys(2)
    flow = FlowClient(tor, ONION, [first], SystemClock(), SystemEntropy(), inbox, times=QUICK)
    flow.start()
    try:
        await flow.wait_connected(_UNTIL)
        flow.add_token(second)
        assert not flow.connected
        await flow.wait_connected(_UNTIL)
        await MessageSender(tor, SystemEntropy()).send(ONION, second.token, BODY)
        assert await inbox.next() == (second.token, BODY)
        flow.remove_token(first.token)
        await MessageSender(tor, SystemEntropy()).send(ONION, first.token, BODY)
        await MessageSender(tor, SystemEntropy()).send(ONION, second.token, BODY)
        assert await inbox.next() == (second.token, BODY)
        assert flow.tokens == {second.token}
    finally:
        await flow.close()


async def test_a_failing_handler_does_not_end_the_flow(tor: LoopbackTor) -> None:
    inbox, (key,) = Inbox(), keys(1)
    errors = iter([PeerError("replayed"), RuntimeError("bug")])

    def handler(token: str, body: bytes) -> None:
        for error in errors:
            raise error
        inbox(token, body)

    flow = FlowClient(tor, ONION, [key], SystemClock(), SystemEntropy(), handler, times=QUICK)
    flow.start()
    try:
        await flow.wait_connected(_UNTIL)
        for _ in range(3):
            await MessageSender(tor, SystemEntropy()).send(ONION, key.token, BODY)
        assert await inbox.next() == (key.token, BODY)
        assert flow.connected
    finally:
        await flow.close()


class SilentTor:
    """A contact point that answers a connection with fixed bytes, then with nothing."""

    def __init__(self, says: bytes) -> None:
        self.says = says
        self.connections = 0
        self.heard = b""

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.connections += 1
        return await asyncio.open_connection(*self.address)

    async def __aenter__(self) -> "SilentTor":
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(self.says)
            while data := await reader.read(65536):
                self.heard += data
            writer.close()

        self.server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.address = self.server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()


@pytest.mark.parametrize("says", [b"", b"garbage\r\n\r\n", b"SIP/2.0 202 Accepted\r\n\r\n"])
async def test_a_contact_point_that_talks_nonsense_is_unavailable(says: bytes) -> None:
    async with SilentTor(says) as tor:
        sender = MessageSender(tor, SystemEntropy(), answer=0.2)
        with pytest.raises(TransportUnavailable):
            await sender.send(ONION, keys(1)[0].token, BODY)


async def test_a_contact_point_that_never_binds_is_left_and_tried_again() -> None:
    async with SilentTor(b"") as tor:
        flow = FlowClient(
            tor, ONION, keys(1), SystemClock(), SystemEntropy(), Inbox(), times=replace(QUICK, answer=0.05)
        )
        flow.start()
        try:
            await until(lambda: tor.connections >= 3)
        finally:
            await flow.close()


async def test_a_ping_without_an_answer_ends_the_connection(tor: LoopbackTor) -> None:
    flow = FlowClient(
        tor,
        ONION,
        keys(1),
        SystemClock(),
        SystemEntropy(),
        Inbox(),
        times=replace(QUICK, ping=0.1, answer=0.2),
    )
    flow.start()
    try:
        await flow.wait_connected(_UNTIL)
        await asyncio.sleep(0.8)  # several pings, all answered
        assert len(tor.isolations) == 1
        assert flow.connected
        session = flow._session
        assert session is not None
        assert session.pongs >= 1
        session._stream = MessageStream(expects_pongs=False)  # from now on no pong is seen
        await until(lambda: len(tor.isolations) >= 2)
    finally:
        await flow.close()


def test_what_leaves_names_nobody_and_differs_only_in_what_is_random() -> None:
    key = TokenKey.generate(SeededEntropy("token"))
    shapes = set()
    for seed in range(3):
        (message,) = MessageStream().receive(FlowSession(ONION, SeededEntropy(seed)).register(key))
        assert isinstance(message, Request)
        assert str(message.from_.uri) == "sip:anonymous@anonymous.invalid"
        assert message.via.host == "anonymous.invalid"
        shapes.add((message.method, message.uri, tuple(name for name, _ in message.headers.items())))
        assert "User-Agent" not in message.headers
    assert len(shapes) == 1


def test_a_session_survives_answers_it_did_not_ask_for() -> None:
    session = FlowSession(ONION, SeededEntropy(1))
    (message,) = MessageStream().receive(session.register(TokenKey.generate(SeededEntropy(2))))
    assert isinstance(message, Request)
    with pytest.raises(PeerError):
        session.receive(answer(message, 401, 'Digest realm="x"'), 0.0)
    assert session.receive(answer(message, 100), 0.0) == b""
    assert session.receive(answer(message, 403), 0.0) == b""
    assert session.receive(answer(message, 200), 0.0) == b""  # too late: that registration is over
    assert (len(session.bound), len(session.refused)) == (0, 1)
    wrong_size = Request("MESSAGE", f"sip:t@{ONION}.onion", message.headers.copy(), bytes(SEALED_SIZE - 1))
    wrong_size.headers.set("CSeq", "1 MESSAGE")
    assert session.receive(wrong_size.to_bytes(), 0.0).startswith(b"SIP/2.0 200")
    assert session.messages == []


def answer(request: Request, status: int, challenge: str = "") -> bytes:
    response = Response(status, "", request.headers.copy())
    if challenge:
        response.headers.add("WWW-Authenticate", challenge)
    return response.to_bytes()


def requests(data: bytes) -> list[Request]:
    return [message for message in MessageStream().receive(data) if isinstance(message, Request)]


def test_every_token_is_registered_again_at_a_moment_of_its_own() -> None:
    session = FlowSession(ONION, SeededEntropy(3))
    tokens = keys(8)
    for key in tokens:
        session.receive(answer(requests(session.register(key))[0], 200), 100.0)
    moments = dict[str, float]()
    while session.deadline is not None and len(moments) < len(tokens):
        now = session.deadline
        assert session.tick(now - 0.001) == b""
        for again in requests(session.tick(now)):
            moments[again.to.sip_uri.user or ""] = now
            assert session.receive(answer(again, 200), now) == b""
    assert moments.keys() == session.bound == {key.token for key in tokens}
    assert all(100.0 + 1800.0 <= moment < 100.0 + 3240.0 for moment in moments.values())
    assert len(set(moments.values())) == len(tokens)
    assert max(moments.values()) - min(moments.values()) > 300.0
    assert session.deadline is not None
    assert session.deadline > 100.0 + 3240.0, "and so on"


def test_a_token_taken_off_in_the_midst_of_its_registration_does_not_stay() -> None:
    session, (key,) = FlowSession(ONION, SeededEntropy(4)), keys(1)
    (first,) = requests(session.register(key))
    (off,) = requests(session.remove(key.token))
    assert off.headers.get("Expires") == "0"
    assert session.receive(answer(off, 200), 0.0) == b""
    (off,) = requests(session.receive(answer(first, 200), 0.0))
    assert off.headers.get("Expires") == "0"
    (again,) = requests(session.register(key))
    assert session.receive(answer(again, 200), 0.0) == b""
    (again,) = requests(session.receive(answer(off, 200), 0.0))  # it was wanted again before that came
    assert again.headers.get("Expires") == "3600"
    assert session.receive(answer(again, 200), 0.0) == b""
    assert session.bound == {key.token}
    assert session.remove("x" * 52) == b""


async def test_a_flow_refreshes_what_is_due(tor: LoopbackTor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.agent.flow_session.refresh_after", lambda entropy, expires: 0.05)
    asked = list[str]()
    begin = FlowSession._begin

    def noting(session: FlowSession, key: TokenKey, expires: int) -> bytes:
        asked.append(key.token)
        return begin(session, key, expires)

    monkeypatch.setattr(FlowSession, "_begin", noting)
    (key,) = keys(1)
    flow = FlowClient(tor, ONION, [key], SystemClock(), SystemEntropy(), Inbox(), times=QUICK)
    flow.start()
    try:
        await until(lambda: len(asked) >= 4)
        assert flow.connected
    finally:
        await flow.close()
    assert set(asked) == {key.token}


async def test_a_flow_starts_when_it_is_told_to(tor: LoopbackTor) -> None:
    flow = FlowClient(tor, ONION, keys(1), SystemClock(), SystemEntropy(), Inbox(), times=QUICK)
    assert not flow.started
    flow.start(1000.0)
    try:
        await asyncio.sleep(0.05)
        assert flow.started
        assert tor.isolations == []
        flow.hurry(0.05)
        await flow.wait_connected(_UNTIL)
    finally:
        await flow.close()

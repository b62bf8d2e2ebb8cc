"""A phone that does what a test says, face to face with the core, on virtual time."""

from collections.abc import Callable
from typing import TypeVar

from relay.agent.phone import PhoneEvent, PhoneSettings, PhoneUserAgent
from relay.core import ManualClock, SeededEntropy
from relay.sip.digest import Challenge
from relay.sip.headers import Headers
from relay.sip.message import Request, Response, parse_message, response_to
from relay.sip.opus_offer import neutral_offer
from relay.sip.sdp import SessionDescription
from relay.sip.transaction import Flow

T = TypeVar("T")

USER, PASSWORD = "alice", "correct horse"
OFFER = neutral_offer(address="127.0.0.1", port=40000, session_id=1)
ANSWER = neutral_offer(address="127.0.0.1", port=40002, session_id=2)


class ScriptedPhone:
    """One phone on one flow.  `sent` holds what the core sent to it and the test has not looked at."""

    def __init__(self, bench: "Bench", flow: Flow, name: str) -> None:
        self.bench = bench
        self.flow = flow
        self.name = name
        self.sent: list[Request | Response] = []
        self._branches = 0
        self._sequence = 0

    @property
    def contact(self) -> str:
        transport = ";transport=tcp" if self.flow.transport == "TCP" else ""
        return f"<sip:{USER}@{self.flow.host}:{self.flow.port}{transport}>"

    def request(
        self,
        method: str,
        uri: str = "sip:bob@127.0.0.1",
        *,
        to: str = "<sip:bob@127.0.0.1>",
        call_id: str | None = None,
        **headers: str,
    ) -> Request:
        self._branches += 1
        self._sequence += 1
        sent_by = f"{self.flow.transport} {self.flow.host}:{self.flow.port}"
        made = Headers(
            [
                ("Via", f"SIP/2.0/{sent_by};branch=z9hG4bK{self.name}{self._branches}"),
                ("From", f"<sip:{USER}@127.0.0.1>;tag={self.name}"),
                ("To", to),
                ("Call-ID", call_id or f"call-{self.name}"),
                ("CSeq", f"{self._sequence} {method}"),
                ("Contact", self.contact),
            ]
        )
        for name, value in headers.items():
            made.set(name.replace("_", "-"), value)
        return Request(method, uri, made)

    def send(self, message: Request | Response) -> None:
        self.send_bytes(message.to_bytes())

    def send_bytes(self, data: bytes) -> None:
        self.bench.core.receive(data, self.flow, self.bench.clock.monotonic())
        self.bench.collect()

    def take(self, kind: type[T]) -> T:
        """The next message that the core sent, which has to be of this kind."""
        message = self.sent.pop(0)
        assert isinstance(message, kind), message
        return message

    def statuses(self) -> list[int]:
        """The statuses of everything sent since the last look."""
        found = [message.status for message in self.sent if isinstance(message, Response)]
        self.sent.clear()
        return found

    def authorised(
        self,
        make: Callable[[], Request],
        *,
        algorithm: str = "SHA-256",
        password: str = PASSWORD,
        username: str = USER,
    ) -> Request:
        """Send a request, be challenged, send it again with credentials; returns the second request."""
        self.send(make())
        refusal = self.take(Response)
        assert refusal.status == 401
        challenges = [Challenge.parse(value) for value in refusal.headers.all("WWW-Authenticate")]
        challenge = next(one for one in challenges if one.algorithm == algorithm)
        request = make()
        credentials = challenge.answer(
            username=username,
            password=password,
            method=request.method,
            uri=request.uri,
            count=1,
            cnonce="0123",
        )
        request.headers.set("Authorization", str(credentials))
        self.send(request)
        return request

    def register(self, *, expires: str = "300", algorithm: str = "SHA-256", **headers: str) -> Response:
        """Register with success; returns the 200."""
        address = f"<sip:{USER}@127.0.0.1>"

        def make() -> Request:
            call_id = f"register-{self.name}"
            return self.request(
                "REGISTER", "sip:127.0.0.1", to=address, call_id=call_id, Expires=expires, **headers
            )

        self.authorised(make, algorithm=algorithm)
        return self.take(Response)

    def invite(self, offer: SessionDescription = OFFER, **headers: str) -> Request:
        """Dial; returns the INVITE that was let in, its 100 taken."""

        def make() -> Request:
            request = self.request("INVITE", **headers)
            request.headers.set("Content-Type", "application/sdp")
            request.body = offer.to_bytes()
            return request

        request = self.authorised(make)
        assert self.take(Response).status == 100
        return request

    def answer(self, request: Request, status: int, sdp: SessionDescription | None = None) -> Response:
        """Answer a request of the core, with this phone's tag and Contact."""
        response = response_to(request, status, to_tag=f"{self.name}-tag")
        response.headers.add("Contact", self.contact)
        if sdp is not None:
            response.headers.add("Content-Type", "application/sdp")
            response.body = sdp.to_bytes()
        self.send(response)
        return response

    def within(self, method: str, invite: Request, ok: Response, *, number: int | None = None) -> Request:
        """A request within the dialog that `invite` and its answer `ok` made."""
        request = self.request(
            method, ok.contacts[0].uri, to=ok.headers.get("To") or "", call_id=invite.call_id
        )
        if method == "ACK":
            number = invite.cseq.number
        if number is not None:
            request.headers.set("CSeq", f"{number} {method}")
        return request


class Bench:
    """The core, its clock, its phones and what it told the agent."""

    def __init__(self, *, seed: int = 1, **settings: object) -> None:
        self.clock = ManualClock()
        self.settings = PhoneSettings(USER, PASSWORD, **settings)  # type: ignore[arg-type]
        self.core = PhoneUserAgent(self.settings, SeededEntropy(seed))
        self.core.on_wake(self.collect)
        self.events: list[PhoneEvent] = []
        self.phones: dict[Flow, ScriptedPhone] = {}
        self.astray: list[tuple[Flow, bytes]] = []

    def phone(self, port: int = 5070, *, connection: int = 0) -> ScriptedPhone:
        flow = Flow("TCP" if connection else "UDP", "127.0.0.1", port, connection)
        return self.phones.setdefault(flow, ScriptedPhone(self, flow, f"p{port}"))

    def collect(self) -> None:
        for flow, data in self.core.outputs():
            if flow in self.phones:
                self.phones[flow].sent.append(parse_message(data))
            else:
                self.astray.append((flow, data))
        self.events += self.core.events()

    def advance(self, seconds: float) -> None:
        """Let time pass, waking the core at each of its deadlines."""
        end = self.clock.monotonic() + seconds
        while (at := self.core.next_deadline()) is not None and at <= end:
            self.clock.advance(max(0.0, at - self.clock.monotonic()))
            self.core.tick(self.clock.monotonic())
            self.collect()
        self.clock.advance(max(0.0, end - self.clock.monotonic()))

    def lose(self, flow: Flow) -> None:
        """A connection is gone."""
        self.core.flow_lost(flow, self.now)
        self.collect()

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def event(self, kind: type[T]) -> T:
        """The next event, which has to be of this kind."""
        event = self.events.pop(0)
        assert isinstance(event, kind), event
        return event

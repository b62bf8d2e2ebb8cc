"""A line as its reflector holds it: keys, one address, a short queue.  Nothing that says whose it is."""

from collections import deque
from collections.abc import Hashable

from relay.core import Counters, Entropy
from relay.media_reflector.control import Control, Operation
from relay.media_reflector.handshake import LinkContexts
from relay.media_reflector.link import CellSender
from relay.rtp.cell import BODY_SIZE, LinkType
from relay.rtp.srtp import AeadSrtp

Address = Hashable
"""Where datagrams come from and go to; the shell knows what it is, the core only compares it."""

MAX_QUEUED = 3
"""Bodies that may wait for a line's slot; the oldest is dropped."""
MAX_STANDING = 2
"""A queue that never falls below this after a departure only delays: one body is dropped."""
STANDING_TICKS = 100
MAX_ANSWERED = 8
"""Addresses that get answers to the same first message."""


class Line:
    """`address` is None until one has proved itself."""

    __slots__ = (
        "_keys",
        "address",
        "answer",
        "answered",
        "control",
        "deadline",
        "first",
        "heard",
        "peer",
        "pending",
        "queue",
        "receiver",
        "sender",
        "slot",
        "ssrc",
        "standing",
    )

    def __init__(self, ssrc: int, sender: CellSender, keys: LinkContexts, slot: int, deadline: float) -> None:
        self.ssrc = ssrc
        self.sender = sender
        self._keys = keys.down
        self.receiver: AeadSrtp = keys.up
        self.slot = slot
        self.deadline = deadline
        self.heard = 0.0
        self.address: Address | None = None
        self.first = b""
        self.answer = b""
        self.pending: list[Address] = []
        self.answered: dict[Address, CellSender] = {}
        self.peer: Line | None = None
        self.queue: deque[bytes] = deque()
        self.control: Control | None = None
        self.standing = 0

    def ask_again(self, source: Address, entropy: Entropy) -> None:
        """The first message came (again) from `source`: one answer goes there at this line's slot."""
        if source not in self.answered and len(self.answered) < MAX_ANSWERED:
            # Sequence number and timestamp of its own, so that only who saw these answers can echo one.
            self.answered[source] = CellSender(self.sender.ssrc, entropy)
        if source in self.answered and source not in self.pending:
            self.pending.append(source)

    def take_answers(self) -> list[tuple[bytes, Address]]:
        """The answers due in this tick, at most one for each cell that asked."""
        cells = [(self.answered[address].handshake(self.answer), address) for address in self.pending]
        self.pending.clear()
        return cells

    def prove(self, address: Address, control: Control | None) -> bool:
        """Open the line for `address` if an authentic cell from there echoes an answer that was sent there.

        Without the echo, somebody on the path could have the line's cells sent to a third party, by copying
        the agent's cells under a forged source.
        """
        sender = self.answered.get(address)
        if sender is None or control is None or control.operation is not Operation.PROVE:
            return False
        if not sender.sent(control.timestamp):
            return False
        self.address = address
        self.sender = sender
        self.sender.keys = self._keys
        self.first = self.answer = b""
        self.pending = []
        self.answered = {}
        return True

    def forward(self, body: bytes, counters: Counters) -> None:
        """Let a body from the other line wait for this line's slot."""
        if len(self.queue) == MAX_QUEUED:
            self.queue.popleft()
            counters.count("queue_full")
        self.queue.append(body)

    def next_cell(self, entropy: Entropy, counters: Counters) -> bytes:
        """The cell of this tick: control, else a body that waits, else chaff."""
        if self.control is not None:
            control, self.control = self.control, None
            counters.count("control_sent")
            return self.sender.seal(LinkType.CONTROL, control.to_body(entropy))
        if self.queue:
            counters.count("bodies_sent")
            cell = self.sender.seal(LinkType.END_TO_END, self.queue.popleft())
            self._trim(counters)
            return cell
        self.standing = 0
        counters.count("chaff_sent")
        return self.sender.seal(LinkType.CHAFF, entropy.token(BODY_SIZE))

    def _trim(self, counters: Counters) -> None:
        """After a burst the queue would stay long for ever, as many come as leave: give up one body for 20
        ms."""
        self.standing = self.standing + 1 if len(self.queue) >= MAX_STANDING else 0
        if self.standing == STANDING_TICKS:
            self.standing = 0
            self.queue.popleft()
            counters.count("queue_trimmed")

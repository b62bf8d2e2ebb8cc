"""A line as the control plane keeps it: which one it is, its epochs, its address.  Nothing that says whose it is."""

from relay.core import Entropy
from relay.media_reflector.epochs import Epoch, EpochChain
from relay.media_reflector.forwarding.face import SLOTS, Address, UpKeys
from relay.media_reflector.link import CellSender

NEVER = -1e9


class Line:
    """One line of a reflector, or one slot of a trunk (`trunk`).  `number` is the data plane's.

    `begun_here` is a trunk's slot that this reflector opened: on it, our cells go "up".  `address` is None until one
    has proved itself.
    """

    __slots__ = (
        "address",
        "ahead",
        "aside",
        "awaited",
        "begun_here",
        "chain",
        "due",
        "hand_outs",
        "number",
        "peer",
        "predecessor",
        "rekey_answer",
        "rekey_public",
        "rekeyed_at",
        "resumptions",
        "slot",
        "spare",
        "successor",
        "told_at",
        "trunk",
    )

    def __init__(
        self, number: int, slot: int, chain: EpochChain, *, trunk: bool = False, begun_here: bool = False
    ) -> None:
        self.number = number
        self.slot = slot
        self.chain = chain
        self.trunk = trunk
        self.begun_here = begun_here
        self.address: Address | None = None
        self.ahead: CellSender | None = None
        """What seals challenges under the following epoch; the data plane goes on where it stopped."""
        self.aside: CellSender | None = None
        """What seals challenges that answer cells of the current epoch."""
        self.awaited = False
        """A trunk's slot that was taken from this end: crossed for our agent once the far end says so."""
        self.told_at = NEVER
        """When CROSSED was said on a trunk's slot for the last time."""
        self.due = -1
        """The second in which it gets its next hand-out."""
        self.hand_outs = 0
        self.resumptions: list[bytes] = []
        """The numbers of the tickets to come back with that are out for it, newest last."""
        self.spare = b""
        """The number of its latest backup ticket."""
        self.predecessor: Line | None = None
        self.successor: Line | None = None
        """The line whose ticket opened this one, and the one that this one's ticket opened, while both stand."""
        self.peer = b""
        """The reflector whose backup ticket opened it, or the line that it took the place of."""
        self.rekey_public = b""
        self.rekey_answer = b""
        """The agent's latest half of a rekeying, and ours, to say again when it is lost."""
        self.rekeyed_at = NEVER

    def incoming(self, epoch: Epoch) -> UpKeys:
        """What opens the cells that come on this line under one of its epochs."""
        return epoch.down if self.begun_here else epoch.up

    def outgoing(self, epoch: Epoch) -> UpKeys:
        """What seals ours."""
        return epoch.up if self.begun_here else epoch.down


class Slots:
    """How many lines each slot of the tick has."""

    def __init__(self) -> None:
        self._lines = [0] * SLOTS

    def choose(self, entropy: Entropy) -> int:
        """The emptier one of two slots drawn at random."""
        one, other = entropy.below(SLOTS), entropy.below(SLOTS)
        return one if self._lines[one] <= self._lines[other] else other

    def taken(self, slot: int) -> None:
        self._lines[slot] += 1

    def freed(self, slot: int) -> None:
        self._lines[slot] -= 1

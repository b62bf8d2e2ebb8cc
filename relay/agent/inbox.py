"""Messages that came down the flows, taken up one at a time.

Opening a sealed message costs a millisecond or two of the process that also seals cells.  Whoever could make it open a
whole burst at once would see the burst on this agent's lines, and so match a token to an address.  Hence the queue: few
for each token, few in all, the tokens in turn, and a pause after each (`PAUSE`) that leaves the cells in peace.
"""

from collections import OrderedDict, deque

PAUSE = 0.1
"""Seconds between two messages that are opened."""

MOST_FOR_A_TOKEN = 4
MOST = 64


class Inbox:
    """First come, first served within a token; the tokens in turn.  What does not fit is dropped and counted."""

    def __init__(self) -> None:
        self.dropped = 0
        self._waiting: OrderedDict[str, deque[bytes]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, token: str, body: bytes) -> None:
        waiting = self._waiting.get(token)
        if self._count >= MOST or (waiting is not None and len(waiting) >= MOST_FOR_A_TOKEN):
            self.dropped += 1
            return
        self._waiting.setdefault(token, deque()).append(body)
        self._count += 1

    def take(self) -> tuple[str, bytes] | None:
        """The next message, or None when nothing waits."""
        if not self._waiting:
            return None
        token, waiting = self._waiting.popitem(last=False)
        body = waiting.popleft()
        self._count -= 1
        if waiting:
            self._waiting[token] = waiting
        return token, body

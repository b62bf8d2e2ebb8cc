"""When a reflector leaves its descriptor at contact points: well before it runs out, and soon after it says something
else (pure decisions).

Whoever keeps descriptors sees when one comes.  So nothing here follows an event at once, and what lines bring about
(occupancy) is told at most every ten minutes, as everywhere else.  What agents must not miss (other addresses, a drain)
is told within a minute, but for the first time.
"""

import msgspec

from relay.core import Entropy
from relay.media_reflector import Descriptor

AFTER_START = (5.0, 60.0)
"""Seconds, drawn at random, as all of these are; at first there is nothing that agents could know better."""
RENEWED = (3 * 3600.0, 4 * 3600.0)
"""Between two descriptors that say the same; each is good for a day."""
AFTER_CHANGE = (5.0, 30.0)
GAP = 600.0
"""Seconds, at least, between two publications, but for what agents must not miss."""
URGENT_GAP = 30.0
RETRY_FIRST = 15.0
RETRY_MOST = 900.0
"""Seconds before another try where no contact point took it: doubled each time."""


class DescriptorTimes:
    """The schedule of one reflector's descriptor.  `now` is monotonic, in seconds."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._said: Descriptor | None = None
        """What the contact points have, without its dates."""
        self._at: float | None = None
        self._published_at = 0.0
        self._change: Descriptor | None = None
        """What they do not have yet; `_at` is then its time."""
        self._retry = RETRY_FIRST
        self._not_before = 0.0

    def look(self, told: Descriptor, now: float) -> None:
        """Hear what the descriptor says now; often."""
        content = _content(told)
        if self._at is None:
            self._at = now + self._entropy.uniform(*AFTER_START)
        if self._said is None or content in (self._said, self._change):
            return
        gap = URGENT_GAP if _is_urgent(content, self._said) else GAP
        at = max(now, self._published_at + gap) + self._entropy.uniform(*AFTER_CHANGE)
        self._at, self._change = min(self._at, at), content

    def due(self, now: float) -> bool:
        """Whether it is to be published now."""
        return self._at is not None and now >= max(self._at, self._not_before)

    def is_out(self, told: Descriptor) -> bool:
        """Whether the contact points have what `told` says."""
        return _content(told) == self._said

    def done(self, told: Descriptor, now: float) -> None:
        """`told` was taken."""
        self._said, self._change, self._published_at = _content(told), None, now
        self._at = now + self._entropy.uniform(*RENEWED)
        self._retry, self._not_before = RETRY_FIRST, 0.0

    def failed(self, now: float) -> None:
        """No contact point took it."""
        self._not_before = now + self._entropy.uniform(0.5, 1.0) * self._retry
        self._retry = min(2 * self._retry, RETRY_MOST)

    def elsewhere(self) -> None:
        """The contact points are others from now on."""
        self._at = self._said = self._change = None
        self._retry, self._not_before = RETRY_FIRST, 0.0


def _content(told: Descriptor) -> Descriptor:
    return msgspec.structs.replace(told, valid_from=0, valid_until=0)


def _is_urgent(new: Descriptor, old: Descriptor) -> bool:
    """Where the old one would lead an agent nowhere."""
    return (new.draining, new.addresses, new.onion) != (old.draining, old.addresses, old.onion)

"""How many bits of a key one contact point is told: never more than leave a crowd that it has shown.

A contact point may say that its store is fuller than it is, to be told more of a key than leaves 64 entries to choose
from.  So it is believed nothing.  The whole store may be asked for.  A bucket is asked for by halves once *both* of
them were seen to hold 64 entries, each under a key of its own, with good signatures and in time; then the halves by
theirs.  What may be asked for is therefore a division of all keys into buckets, each of them borne out, and this
division alone, not the key, says how many bits are named.  Nothing is concluded from one bucket for another: keys that
lie close together are as cheap to make as any.

What was seen holds as long as the entries that were seen, two days at most.  It lies in memory alone: an agent that
begins anew, or that is made to, says no more, it only fetches more.
"""

from relay.forward_publish.bucket import Bucket
from relay.forward_publish.entries import prefix_of


class KnownBuckets:
    """What one contact point bore out, for one kind of entry; keep one for each."""

    __slots__ = ("_halved",)

    def __init__(self) -> None:
        self._halved: dict[tuple[int, int], float] = {}
        """Buckets that are asked for by halves, by bits and prefix, and until when: Unix seconds."""

    def bits(self, key: bytes, now: float) -> int:
        """With how many bits of `key` to ask at Unix time `now`: 0 to 14."""
        bits = 0
        while now < self._halved.get((bits, prefix_of(key, bits)), 0.0):
            bits += 1
        return bits

    def halve(self, bucket: Bucket, until: float, now: float) -> bool:
        """Ask for the halves of `bucket` from now on, where that is borne out: `until` is what
        `Bucket.halves_good_until` found.  Says whether it is."""
        if until <= now:
            return False
        self._halved = {place: end for place, end in self._halved.items() if now < end}
        self._halved[bucket.bits, bucket.prefix] = until
        return True

    def join(self, bucket: Bucket) -> None:
        """Ask for `bucket` together with its other half again: it held fewer than 64, or something bad."""
        self._halved.pop((bucket.bits - 1, bucket.prefix >> 1), None)

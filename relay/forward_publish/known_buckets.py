"""How many bits of a key one contact point is told: never more than leave a crowd that it has shown.

A contact point may say that its store is fuller than it is, to be told more of a key than leaves 64 entries to choose
from.  So it is believed nothing.  The whole store may be asked for.  A bucket is asked for by halves once *both* of
them were seen to hold 64 entries, each under a key of its own, with good signatures and in time; then the half in which
the key lies by its halves.  Nothing is concluded from one bucket for another: keys that lie close together are as cheap
to make as any.

What was seen counts for that key at that contact point and for nothing else.  Were it used for other keys too, a
contact point could show a crowd on one circuit and to nobody else, and know the agent again by how many bits its next
lookups begin with: all of its contacts would be one agent's.  As it is, such a mark is seen again by lookups of the
same key alone.

It holds until the first of the entries that were seen expires, two days at most, and lies in memory alone: an agent
that begins anew, or that is made to, says no more, it only fetches more.
"""


class KnownBuckets:
    """What contact points bore out for the keys that are looked for there; as large as that makes it."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[tuple[str, bytes], list[float]] = {}
        """By onion name and key: until when, in Unix seconds, the buckets on the way to the key, of 0 bits, 1 and so
        on, are asked for by halves."""

    def __len__(self) -> int:
        return len(self._until)

    def bits(self, onion: str, key: bytes, now: float) -> int:
        """With how many bits of `key` to ask there first, at Unix time `now`: 0 to 14."""
        bits = 0
        for until in self._until.get((onion, key), ()):
            if until <= now:
                break
            bits += 1
        return bits

    def halve(self, onion: str, key: bytes, bits: int, until: float, now: float) -> None:
        """Remember that `bits` + 1 bits of `key` may be named there until the Unix time `until`."""
        self._until = {place: ends for place, ends in self._until.items() if now < ends[0]}
        known = self._until.get((onion, key), [])[:bits]
        if now < until and len(known) == bits:
            self._until[onion, key] = [*known, until]

    def forget(self, onion: str, key: bytes) -> None:
        """Ask for everything first, the next time: what was shown is not there any more, or something there is bad."""
        self._until.pop((onion, key), None)

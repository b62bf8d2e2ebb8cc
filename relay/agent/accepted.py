"""Which reflectors this agent's owner accepts: those named one by one, and those on signed lists of accepted makers."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from relay.agent.settings import AgentSettings
from relay.core import PeerError
from relay.media_reflector import ReflectorList, ReflectorReference, parse_maker, read_list
from relay.media_reflector.lists import LIST_LIMIT

GRACE = 30 * 86400.0
"""Seconds for which guards off a list that ran out stay chosen, though unused: a maker who is a week late with the new
one must not make everybody choose anew."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is accepted at a moment.  `references` by identity; `lapsed` are identities on lists that ran out less than
    `GRACE` ago; `whole` says that every list could be read; `troubles` are sentences for the owner.

    Where lists name the same identity at several onions, `elsewhere` has the further ones: a maker must not be able to
    put what others list out of reach, and be drawn in its place.
    """

    references: dict[bytes, ReflectorReference]
    lapsed: frozenset[bytes] = frozenset()
    whole: bool = True
    troubles: tuple[str, ...] = ()
    elsewhere: dict[bytes, tuple[ReflectorReference, ...]] = field(default_factory=dict)

    def places(self, identity: bytes) -> tuple[ReflectorReference, ...]:
        """Every reference by which a reflector is accepted."""
        first = self.references.get(identity)
        return () if first is None else (first, *self.elsewhere.get(identity, ()))

    def pending(self, guards: Collection[bytes]) -> frozenset[bytes]:
        """Which of `guards` may be accepted again soon, and should not be replaced before that is known."""
        return self.lapsed if self.whole else frozenset(guards)


class AcceptedReflectors:
    """Reads what is accepted; lists are read again when their files changed."""

    def __init__(self, settings: AgentSettings) -> None:
        self._named = [ReflectorReference.parse(text) for text in settings.reflectors]
        self._makers = {parse_maker(text) for text in settings.list_makers}
        self._files = [Path(text).expanduser() for text in settings.reflector_lists]
        self._read: dict[Path, tuple[tuple[int, int, int], ReflectorList | str]] = {}

    def at(self, wall: float) -> Accepted:
        """What is accepted at `wall` seconds of wall time."""
        references = {reference.identity: reference for reference in self._named}
        elsewhere: dict[bytes, tuple[ReflectorReference, ...]] = {}
        lapsed: set[bytes] = set()
        troubles: list[str] = []
        whole = True
        for path in self._files:
            found = self._list(path)
            if isinstance(found, str):
                whole = False
                troubles.append(f"{path.name}: {found}")
            elif found.maker not in self._makers:
                troubles.append(f"{path.name}: its maker is not among your list_makers")
            elif not found.begun(wall):
                whole = False
                troubles.append(f"{path.name}: from a later day; look at the clock of this machine")
            elif (over := found.seconds_over(wall)) > 0:
                troubles.append(f"{path.name}: ran out; ask its maker for a new one")
                if over < GRACE:
                    lapsed |= {reference.identity for reference in found.references}
            else:
                for reference in found.references:
                    identity = reference.identity
                    known = references.setdefault(identity, reference), *elsewhere.get(identity, ())
                    # What the owner named stands, whatever a list says of it.
                    if reference not in known and known[0] not in self._named:
                        elsewhere[identity] = *known[1:], reference
        return Accepted(references, frozenset(lapsed), whole, tuple(troubles), elsewhere)

    def _list(self, path: Path) -> ReflectorList | str:
        """The list in a file, or why there is none."""
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            if path in self._read and self._read[path][0] == stamp:
                return self._read[path][1]
            with path.open(encoding="utf-8") as file:
                text = file.read(LIST_LIMIT + 1)
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        except UnicodeDecodeError:
            return "not a text in UTF-8"
        try:
            self._read[path] = stamp, read_list(text)
        except PeerError as error:
            self._read[path] = stamp, str(error)
        return self._read[path][1]


Reader = Callable[[float], Accepted]
"""Says what is accepted at a moment of wall time."""

"""ZIDs and retained secrets on disk: who was at the other end in the last call (RFC 6189 sections 4.6.1, 4.9).

Each contact has a ZID of ours to itself, drawn at random: two contacts, or their phones, that compare what they were
told find nothing in common.  What is retained is under both ZIDs, so that no contact vouches for another, and a contact
that comes with ever new ZIDs pushes out its own entries alone.

A call never waits for a disk (`relay.agent.behind`): what it changes holds at once in memory, and is written on top of
what the file holds by then.  What could not be written is so with the next change.  A secret that a crash takes before
it was written is made good by the one before it, which both ends keep.
"""

import contextlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import TypeAlias

from relay.agent.behind import AtOnce, Later
from relay.agent.kept import Kept
from relay.agent.voice_security import End
from relay.agent.zid_table import ZID_SIZE, ZidTable
from relay.core import BayonneError, Clock, ConfigurationError, Entropy, MisuseError, PeerError, get_logger
from relay.zrtp import Retained

ZIDS_FILE = "zids"
OWN_PHONE = "phone"
"""In the place of a contact: our own phone, where its agent is the other end."""
DAMAGED = f"{ZIDS_FILE} in the state directory is damaged; restore it, or move it away to begin anew"
"""Not passed over: whoever loses it takes every stranger for the one from the last call."""
FOREVER = 0xFFFFFFFF
MOST_PENDING = 4096
"""Changes that wait for a disk to have room; a call makes about four."""

_Change: TypeAlias = Callable[[ZidTable], None]
"""May be made twice."""
_Written: TypeAlias = tuple[tuple[_Change, ...], ZidTable, Hashable]
"""What was made, what the file holds now, and its stamp."""

_log = get_logger("zids")


class ZidCache:
    """A `relay.zrtp.ZidCache` that outlives the process; shared with `bayonne contact`."""

    def __init__(self, state: Kept, clock: Clock, entropy: Entropy, later: Later | None = None) -> None:
        """With `later` it is the running agent's; without, everything is written before it returns."""
        self._state = state
        self._later = later or AtOnce()
        self._pending: list[_Change] = []
        self._clock = clock
        self._entropy = entropy
        self._stamp: Hashable = None
        self._table = ZidTable()

    def check(self) -> None:
        """Read it once, before anybody relies on it.  Raises `ConfigurationError` where it is damaged."""
        self._read()

    # -- what an exchange asks for -------------------------------------------------------------------------------

    def look_up(self, own_zid: bytes, peer_zid: bytes) -> Retained | None:
        self._try_to_read()
        found = self._table.find(own_zid, peer_zid)
        if found is None:
            return None
        retained, until = found
        return replace(retained, expired=until is not None and self._clock.wall() >= until)

    def keep(self, own_zid: bytes, peer_zid: bytes, retained: Retained, seconds: int) -> None:
        """Written behind the call (section 4.6.1)."""
        until = None if seconds == FOREVER else int(self._clock.wall()) + seconds
        self._change_in_call(lambda table: table.put(own_zid, peer_zid, retained, until))

    def forget(self, own_zid: bytes, peer_zid: bytes) -> None:
        self._change_in_call(lambda table: table.drop(own_zid, peer_zid))

    # -- by contact: a `relay.agent.voice_security.Zids` ----------------------------------------------------------

    @property
    def cache(self) -> "ZidCache":
        return self

    def own(self, contact_id: str) -> bytes:
        """Ours for that contact, drawn the first time."""
        self._try_to_read()
        if (found := self._table.own(contact_id)) is not None:
            return found
        fresh = self._entropy.token(ZID_SIZE)
        self._change_in_call(lambda table: table.add(contact_id, fresh))
        return self._table.own(contact_id) or fresh

    def is_own(self, contact_id: str, zid: bytes) -> bool:
        """Whether that is ours for that contact: not any more, where the owner began anew."""
        self._try_to_read()
        return self._table.own(contact_id) == zid

    def own_phone(self) -> bytes:
        return self.own(OWN_PHONE)

    def peer(self, contact_id: str, end: End) -> bytes:
        """The ZID that was at that contact's end last; empty where none was (section 12)."""
        self._try_to_read()
        return self._table.met(contact_id, end)

    def meet(self, contact_id: str, end: End, peer_zid: bytes) -> None:
        """From now on that ZID is expected there."""
        if self.peer(contact_id, end) != peer_zid:
            own = self.own(contact_id)
            self._change_in_call(lambda table: table.meet(contact_id, own, end, peer_zid))

    # -- what the owner decides ----------------------------------------------------------------------------------

    def forget_contact(self, contact_id: str) -> None:
        """The next call is the first one, under another ZID of ours.  Raises `ConfigurationError`, `NotKept`."""
        self._written(self._write(lambda table: table.forget(contact_id)))

    def keep_only(self, contact_ids: Iterable[str]) -> None:
        """Forget whoever is no contact any more."""
        ids = {*contact_ids, OWN_PHONE}
        self._try_to_read()
        if not self._table.contacts() <= ids:
            self._change_in_call(lambda table: table.keep_only(ids))

    # -- the file ------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """What others wrote.  Our own needs no look, which takes 1.5 ms with 300 contacts: it comes with `_written`,
        and so do others' changes that were made meanwhile."""
        if self._later.busy:
            return
        stamp = self._state.stamp(ZIDS_FILE)
        if stamp == self._stamp and stamp is not None:
            return
        found = self._found()
        if found is not None:
            _make(self._pending, found)
            self._table, self._stamp = found, stamp

    def _found(self) -> ZidTable | None:
        content = self._state.read(ZIDS_FILE)  # also where nothing is there: what is gone is no beginning
        if content is None:
            return None
        try:
            return ZidTable.from_bytes(content)
        except PeerError:
            raise ConfigurationError(DAMAGED) from None

    def _try_to_read(self) -> None:
        """What was read last stands where the file is of no use by now."""
        try:
            self._read()
        except ConfigurationError as error:
            _log.error("what calls go on from cannot be read", kind=type(error).__name__)

    def _change_in_call(self, change: _Change) -> None:
        """It holds from now on, whatever becomes of the file."""
        change(self._table)
        self._pending.append(change)
        del self._pending[:-MOST_PENDING]
        self._later.do(self._write, self._written, self._not_written)

    def _write(self, *others: _Change) -> _Written | None:
        """In whatever thread: make `others`, and what is pending, on top of what the file holds now."""
        pending = tuple(self._pending)
        if not pending and not others:
            # Written with one before.
            return None
        with self._state.locked("zids"):
            table = self._found() or self._table.copy()
            _make((*pending, *others), table)
            self._state.write(ZIDS_FILE, table.to_bytes(self._clock.wall()))
            return pending, table, self._state.stamp(ZIDS_FILE)

    def _written(self, written: _Written | None) -> None:
        if written is not None:
            made, table, stamp = written
            self._pending = [change for change in self._pending if change not in made]
            _make(self._pending, table)
            self._table, self._stamp = table, stamp

    def _not_written(self, error: BayonneError) -> None:
        _log.error("what calls go on from was not kept", kind=type(error).__name__)


def _make(changes: Iterable[_Change], table: ZidTable) -> None:
    for change in changes:
        # Somebody else may have taken the last place since.
        with contextlib.suppress(MisuseError):
            change(table)

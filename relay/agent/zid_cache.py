"""ZIDs and retained secrets on disk: who was at the other end in the last call (RFC 6189 sections 4.6.1, 4.9).

Each contact has a ZID of ours to itself, drawn at random: two contacts, or their phones, that compare what they were
told find nothing in common.  What is retained is under both ZIDs, so that no contact vouches for another, and a contact
that comes with ever new ZIDs pushes out its own entries alone.

A call never waits for a disk that is full: what could not be written stays in memory, and is written with the next
change.  A secret that was lost so is made good by the one before it, which both ends keep.
"""

import contextlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace

from relay.agent.kept import Kept, NotKept
from relay.agent.voice_security import End
from relay.agent.zid_table import ZID_SIZE, ZidTable
from relay.core import Clock, ConfigurationError, Entropy, PeerError, get_logger
from relay.zrtp import Retained

ZIDS_FILE = "zids"
OWN_PHONE = "phone"
"""In the place of a contact: our own phone, where its agent is the other end."""
DAMAGED = f"{ZIDS_FILE} in the state directory is damaged; restore it, or move it away to begin anew"
"""Not passed over: whoever loses it takes every stranger for the one from the last call."""
FOREVER = 0xFFFFFFFF

_log = get_logger("zids")


class ZidCache:
    """A `relay.zrtp.ZidCache` that outlives the process; shared with `bayonne contact`."""

    def __init__(self, state: Kept, clock: Clock, entropy: Entropy) -> None:
        self._state = state
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
        """Written before it returns, which is before the call is said to be secure (section 4.6.1)."""
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
        with self._changing() as table:
            table.forget(contact_id)

    def keep_only(self, contact_ids: Iterable[str]) -> None:
        """Forget whoever is no contact any more."""
        ids = {*contact_ids, OWN_PHONE}
        self._try_to_read()
        if not self._table.contacts() <= ids:
            self._change_in_call(lambda table: table.keep_only(ids))

    # -- the file ------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        stamp = self._state.stamp(ZIDS_FILE)
        if stamp == self._stamp and stamp is not None:
            return
        content = self._state.read(ZIDS_FILE)  # also where nothing is there: what is gone is no beginning
        if content is None:
            return
        try:
            self._table = ZidTable.from_bytes(content)
        except PeerError:
            raise ConfigurationError(DAMAGED) from None
        self._stamp = stamp

    def _try_to_read(self) -> None:
        """What was read last stands where the file is of no use by now."""
        try:
            self._read()
        except ConfigurationError as error:
            _log.error("what calls go on from cannot be read", kind=type(error).__name__)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[ZidTable]:
        with self._state.locked("zids"):
            self._read()
            yield self._table
            self._state.write(ZIDS_FILE, self._table.to_bytes(self._clock.wall()))
            self._stamp = self._state.stamp(ZIDS_FILE)

    def _change_in_call(self, change: Callable[[ZidTable], None]) -> None:
        """As `_changing`; what cannot be written, or not be read before, is changed in memory.  `change` may be made
        twice."""
        try:
            with self._changing() as table:
                change(table)
        except (NotKept, ConfigurationError) as error:
            change(self._table)
            _log.error("what calls go on from was not kept", kind=type(error).__name__)

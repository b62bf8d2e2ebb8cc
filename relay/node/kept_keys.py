"""The keys of resumption and backup tickets, in the service manager's memory over a restart, and never on a disk.

With them go the numbers of used tickets.  What a crash loses of those can open one line more each, under keys of its
own: every handshake makes new ones.
"""

from relay.media_reflector import TicketOffice
from relay.node.service_manager import ServiceManager

SEALING_KEYS = "bayonne-sealing-keys"
"""Under which name the service manager holds them."""


class KeptKeys:
    """Gives an office the keys of the process before, and keeps its keys for the one after."""

    def __init__(self, office: TicketOffice, service: ServiceManager) -> None:
        self._office = office
        self._service = service
        self._kept = b""
        kept = service.kept(SEALING_KEYS)
        if kept is not None and office.restore(kept):
            self._kept = kept

    def keep(self, now: float) -> None:
        """Call it often; it writes when something changed."""
        if not self._service.present:
            return
        self._office.expire(now)
        keys = self._office.sealing_keys()
        if keys != self._kept and self._service.keep(SEALING_KEYS, keys):
            self._kept = keys

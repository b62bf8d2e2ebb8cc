"""One branch of a call to the user's phones: an INVITE, its CANCEL, the ACK of whatever 2xx comes."""

from relay.agent.phone.station import Station
from relay.sip.client_transaction import ClientTransaction, cancel
from relay.sip.dialog import Dialog
from relay.sip.message import Response
from relay.sip.transaction import FINISHED, TransactionState

MAX_ANSWERS = 4
"""Answers of one phone, each with a tag of its own, that are acknowledged; a phone has one."""


class Leg:
    """`status` is the final status, None while there is none."""

    __slots__ = (
        "_acks",
        "_cancel_ends",
        "_cancel_wanted",
        "_provisional",
        "_station",
        "status",
        "transaction",
    )

    def __init__(self, station: Station, transaction: ClientTransaction) -> None:
        self.transaction = transaction
        self.status: int | None = None
        self._station = station
        self._provisional = False
        self._cancel_wanted = False
        self._cancel_ends: float | None = None
        self._acks: dict[str | None, bytes] = {}

    @property
    def finished(self) -> bool:
        """Whether no answer can come any more."""
        return self.transaction.state is TransactionState.TERMINATED

    @property
    def deadline(self) -> float | None:
        return None if self.transaction.state in FINISHED else self._cancel_ends

    def tick(self, now: float) -> None:
        """A cancelled INVITE that never gets its 487 is over after 64*T1 (section 9.1)."""
        deadline = self.deadline
        if deadline is not None and now >= deadline:
            self._station.transactions.abandon(self.transaction)
            self._cancel_ends = None

    def note_provisional(self, now: float) -> None:
        """A provisional answer came: from here on a CANCEL may be sent (section 9.1)."""
        self._provisional = True
        if self._cancel_wanted and self._cancel_ends is None:
            self._send_cancel(now)

    def cancel(self, now: float) -> None:
        """Make the phone stop ringing, as soon as that is allowed."""
        if self._cancel_wanted or self.transaction.state in FINISHED:
            return
        self._cancel_wanted = True
        if self._provisional:
            self._send_cancel(now)

    def acknowledge(self, response: Response) -> Dialog | None:
        """Send the ACK of a 2xx; the new dialog, or None if this answer was seen before."""
        tag = response.to.tag
        transactions, flow = self._station.transactions, self.transaction.flow
        if tag in self._acks:
            transactions.send(flow, self._acks[tag])
            return None
        if len(self._acks) >= MAX_ANSWERS:
            return None
        dialog = Dialog.as_uac(self.transaction.request, response)
        ack = dialog.ack(self.transaction.request, self._station.new_via(flow)).to_bytes()
        self._acks[tag] = ack
        transactions.send(flow, ack)
        return dialog

    def _send_cancel(self, now: float) -> None:
        request = cancel(self.transaction.request)
        if self._station.transactions.request(request, self.transaction.flow, now) is not None:
            self._cancel_ends = now + self._station.settings.timers.transaction

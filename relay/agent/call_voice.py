"""The voice of one call: between the phone's leg and the bodies of cells, as long as there are keys."""

from collections.abc import Callable

from relay.agent.call_security import CallSecurity
from relay.agent.contact_file import Contact
from relay.agent.keyed_voice import KeyedVoice
from relay.agent.phone_leg import PhoneLeg
from relay.agent.surroundings import Surroundings
from relay.forward_publish import CallKeys
from relay.rtp import Datagram, Kind

PHONE_SILENCE_SECONDS = 30.0
"""A phone that sends no voice for so long is asked whether it is still there."""
NOT_TRANSLATED = "your phone's sound could not be translated"
_OF_THE_ENDS = (Kind.VOICE, Kind.EVENT, Kind.ZRTP)
"""What the two ends of ZRTP say to each other."""


class CallVoice:
    """`leg` is the phone's side.  `talking` says whether the lines have met; `on_control` takes what the other agent
    says in the cells; `broken` ends the call, whose voice is not secure or is not heard."""

    def __init__(
        self,
        around: Surroundings,
        contact: Contact,
        talking: Callable[[], bool],
        on_control: Callable[[bytes], None],
        broken: Callable[[str], None],
    ) -> None:
        self.leg = PhoneLeg(
            around.entropy, around.clock, around.tones, self._from_phone, lambda: broken(NOT_TRANSLATED)
        )
        self.security = CallSecurity(around, contact, self.leg, self, self._into_cells, broken)
        self.keyed: KeyedVoice | None = None
        self.lost_cells = 0
        self.cells_received = 0
        self._around = around
        self._talking = talking
        self._on_control = on_control
        self.on_signature: Callable[[bytes], None] = lambda data: None
        """Takes what the other agent says of signatures over the voice's keys."""
        self._heard: set[str] = set()
        self._asked_at = around.clock.monotonic()

    def key(self, keys: CallKeys) -> None:
        """From now on every body is sealed for the peer."""
        self.keyed = KeyedVoice(keys, self._around.entropy)
        self.security.key(keys)

    def forget(self) -> None:
        """Drop the keys: what leaves from now on is random."""
        self.security.close()
        if self.keyed is not None:
            self.lost_cells, self.cells_received = self.keyed.lost, self.keyed.received
            self.keyed.forget()
            self.keyed = None

    def say(self, message: bytes) -> None:
        """Let the other agent have a message in the cells."""
        if self.keyed is not None:
            self.keyed.packer.offer_control(message)

    def say_signature(self, message: bytes) -> None:
        """As `say`, in what everything else leaves of the cells; one that waits already keeps another one out."""
        if self.keyed is not None:
            self.keyed.packer.offer(Kind.SIGNATURE, message)

    def next_body(self) -> bytes | None:
        """The sealed body of the next cell; None without keys."""
        return None if self.keyed is None else self.keyed.next_body()

    def take_body(self, body: bytes, arrived: Callable[[bool], None]) -> bool:
        """A body came; True when the peer made it.  Before what it holds is passed on, `arrived` is called, with True
        for the very first one."""
        keyed = self.keyed
        datagrams = None if keyed is None else keyed.open(body, self._around.clock.monotonic())
        if keyed is None or datagrams is None:
            return False
        first = keyed.received == 1
        arrived(first)
        if first:
            self.security.begin()
        for datagram in datagrams:
            if datagram.kind is Kind.CONTROL:
                self._on_control(datagram.data)
            elif datagram.kind is Kind.SIGNATURE:
                self.on_signature(datagram.data)
            elif datagram.kind in _OF_THE_ENDS and self._let_hear(datagram):
                self._first("received")
        return True

    def _let_hear(self, datagram: Datagram) -> bool:
        return self.security.end is not None and self.security.end.from_cells(datagram)

    def phone_is_silent(self, now: float) -> bool:
        """Whether the phone is to be asked now: over UDP it may just be gone."""
        silent = now - max(self._asked_at, self.leg.heard_at) > PHONE_SILENCE_SECONDS
        if silent:
            self._asked_at = now
        return silent

    def _from_phone(self, said: Datagram) -> None:
        if self.security.end is not None:
            self.security.end.from_leg(said)

    def _into_cells(self, said: Datagram) -> None:
        # Not before the lines met: what would wait then would be heard late for the whole call.
        if self.keyed is None or not self._talking():
            return
        match said.kind:
            case Kind.EVENT:
                self.keyed.packer.offer_event(said.data)
            case Kind.ZRTP:
                self.keyed.packer.offer_zrtp(said.data)
            case _:
                self._first("sent")
                self.keyed.packer.offer_voice(said.data)

    def _first(self, direction: str) -> None:
        if direction not in self._heard:
            self._heard.add(direction)
            self._around.report("voice", direction=direction)

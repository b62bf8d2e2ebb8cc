"""The voice of one call: between the phone's leg and the bodies of cells, as long as there are keys."""

from collections.abc import Callable

from relay.agent.keyed_voice import KeyedVoice
from relay.agent.phone_leg import PhoneLeg
from relay.agent.surroundings import Surroundings
from relay.forward_publish import CallKeys
from relay.rtp import Kind

PHONE_SILENCE_SECONDS = 30.0
"""A phone that sends no voice for so long is asked whether it is still there."""


class CallVoice:
    """`leg` is the phone's side.  `talking` says whether the lines have met; `on_control` takes what the other agent
    says in the cells."""

    def __init__(
        self, around: Surroundings, talking: Callable[[], bool], on_control: Callable[[bytes], None]
    ) -> None:
        self.leg = PhoneLeg(around.entropy, around.clock, around.tones, self._from_phone)
        self.keyed: KeyedVoice | None = None
        self.lost_cells = 0
        self.cells_received = 0
        self._around = around
        self._talking = talking
        self._on_control = on_control
        self._heard: set[str] = set()
        self._phone_heard_at = around.clock.monotonic()

    def key(self, keys: CallKeys) -> None:
        """From now on every body is sealed for the peer."""
        self.keyed = KeyedVoice(keys)

    def forget(self) -> None:
        """Drop the keys: what leaves from now on is random."""
        if self.keyed is not None:
            self.lost_cells, self.cells_received = self.keyed.lost, self.keyed.received
            self.keyed = None

    def say(self, message: bytes) -> None:
        """Let the other agent have a message in the cells."""
        if self.keyed is not None:
            self.keyed.packer.offer_control(message)

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
        arrived(keyed.received == 1)
        for datagram in datagrams:
            if datagram.kind is Kind.VOICE:
                self._first("received")
                self.leg.hear(datagram.data)
            elif datagram.kind is Kind.CONTROL:
                self._on_control(datagram.data)
        return True

    def phone_is_silent(self, now: float) -> bool:
        """Whether the phone is to be asked now: over UDP it may just be gone."""
        silent = now - self._phone_heard_at > PHONE_SILENCE_SECONDS
        if silent:
            self._phone_heard_at = now
        return silent

    def _from_phone(self, packet: bytes) -> None:
        self._phone_heard_at = self._around.clock.monotonic()
        # Not before the lines met: what would wait then would be heard late for the whole call.
        if self.keyed is not None and self._talking():
            self._first("sent")
            self.keyed.packer.offer_voice(packet)

    def _first(self, direction: str) -> None:
        if direction not in self._heard:
            self._heard.add(direction)
            self._around.report("voice", direction=direction)

"""The agent's configuration: one TOML file, read by `relay.core.load_configuration`."""

import ipaddress
import re
import tomllib
from pathlib import Path

import msgspec

from relay.agent.domain_desk import DomainSettings
from relay.agent.invitations import AcceptIntroductions
from relay.agent.listings import SearchSettings
from relay.agent.openpgp import OpenPgpSettings
from relay.agent.phone import is_loopback
from relay.core import ConfigurationError, MisuseError
from relay.forward_publish.records import MOST_CONTACT_POINTS
from relay.media_reflector import ReflectorReference, parse_maker
from relay.tor import TorSettings

LONGEST_START_DELAY = 90.0
"""Seconds: a line waits 120 at most for the other one of its call."""

DEFAULT_STATE_DIRECTORY = "~/.local/share/bayonne"
"""That of the sample configuration."""

_STATE_LINE = re.compile(
    r"^[ \t]*(?:state_directory|\"state_directory\"|'state_directory')[ \t]*=.*$", re.MULTILINE
)
_ONION = re.compile(r"[a-z2-7]{56}")


class ChaffSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[chaff]`: the random times around a call, in seconds (DESIGN.md section 6)."""

    start_delay: float = 60.0
    staggered_teardown: float = 120.0
    dummy_interval: float = 600.0


class VaultSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[vault]`: whether what is kept is sealed under a passphrase, and after how many minutes without a call or
    a command the agent locks itself (0: never)."""

    sealed: bool = True
    lock_after: float = 0.0


class AgentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an agent is told by its owner.

    `contact_points` are onion names (56 characters), at all of which it can be rung; `accept_introductions` says what
    becomes of people who come by a standing invitation or a listing; `reflectors` are references as `bayonne reflector`
    prints them; `reflector_lists` are files of signed lists, taken when one of `list_makers` signed them;
    `line_address` is the local address that lines leave from (empty: whatever the system chooses), and decides between
    IPv4 and IPv6.
    """

    state_directory: str
    name: str = "me"
    sip_listen: str = "127.0.0.1:5060"
    line_address: str = ""
    contact_points: tuple[str, ...] = ()
    accept_introductions: AcceptIntroductions = "ask"
    reflectors: tuple[str, ...] = ()
    reflector_lists: tuple[str, ...] = ()
    list_makers: tuple[str, ...] = ()
    ring_seconds: float = 28.0
    tor: TorSettings = msgspec.field(default_factory=TorSettings)
    chaff: ChaffSettings = msgspec.field(default_factory=ChaffSettings)
    search: SearchSettings = msgspec.field(default_factory=SearchSettings)
    vault: VaultSettings = msgspec.field(default_factory=VaultSettings)
    domains: DomainSettings = msgspec.field(default_factory=DomainSettings)
    openpgp: OpenPgpSettings = msgspec.field(default_factory=OpenPgpSettings)

    def check(self) -> None:
        """What types alone cannot say.  Raises `ConfigurationError` that names the key."""
        if not self.contact_points:
            raise ConfigurationError(
                "contact_points: at least one is needed; ask an operator, or run 'bayonne contact-point'"
            )
        if not self.reflectors and not self.reflector_lists:
            raise ConfigurationError(
                "reflectors: at least one is needed, or a list in reflector_lists; ask an operator, or run "
                "'bayonne reflector'"
            )
        if not 0.0 <= self.chaff.start_delay <= LONGEST_START_DELAY:
            raise ConfigurationError(
                f"chaff.start_delay: must lie between 0 and {LONGEST_START_DELAY:.0f} seconds, or two lines could miss"
            )
        if not 0.0 <= self.chaff.staggered_teardown <= 3600.0:
            raise ConfigurationError("chaff.staggered_teardown: must lie between 0 and 3600 seconds")
        if not 60.0 <= self.chaff.dummy_interval <= 86400.0:
            raise ConfigurationError("chaff.dummy_interval: must lie between 60 and 86400 seconds")
        if not (self.vault.lock_after == 0.0 or 1.0 <= self.vault.lock_after <= 10080.0):
            raise ConfigurationError(
                "vault.lock_after: must be 0 for never, or lie between 1 minute and a week"
            )
        if not 5.0 <= self.ring_seconds <= 30.0:
            raise ConfigurationError("ring_seconds: must lie between 5 and 30")
        if not is_loopback(listen_address(self.sip_listen)[0]):
            raise ConfigurationError(
                "sip_listen: softphones are served on this machine only; write 127.0.0.1:5060"
            )
        if not self.name:
            raise ConfigurationError("name: must not be empty; it is what your softphone registers as")
        self._check_places()

    def _check_places(self) -> None:
        if len(set(self.contact_points)) != len(self.contact_points):
            raise ConfigurationError("contact_points: one of them is named twice")
        if len(self.contact_points) > MOST_CONTACT_POINTS:
            raise ConfigurationError(
                f"contact_points: at most {MOST_CONTACT_POINTS}; more would not make you easier to reach"
            )
        for onion in self.contact_points:
            if not _ONION.fullmatch(onion):
                raise ConfigurationError(
                    "contact_points: an onion name has 56 characters, small letters and digits, without '.onion'"
                )
        for key, texts, parse in (
            ("reflectors", self.reflectors, ReflectorReference.parse),
            ("list_makers", self.list_makers, parse_maker),
        ):
            for text in texts:
                try:
                    parse(text)
                except MisuseError as error:
                    raise ConfigurationError(f"{key}: {error}") from None
        if self.reflector_lists and not self.list_makers:
            raise ConfigurationError(
                "list_makers: needed with reflector_lists; 'bayonne reflectors show LIST' names a list's maker, and "
                "only you can know whether to trust it"
            )
        try:
            if self.line_address:
                ipaddress.ip_address(self.line_address)
        except ValueError:
            raise ConfigurationError(
                "line_address: must be an IP address of this machine, or empty"
            ) from None

    @property
    def directory(self) -> Path:
        return expanded(self.state_directory)


def state_directories_in(content: bytes) -> tuple[str, ...]:
    """What a configuration says of its state directory, whatever else is wrong with it: of one that is no TOML, each
    line that names one.  Nothing where it does not say."""
    text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    try:
        values = [tomllib.loads(text).get("state_directory")]
    except tomllib.TOMLDecodeError:
        values = [_value_of(line) for line in _STATE_LINE.findall(text)]
    return tuple(
        dict.fromkeys(value for value in values if isinstance(value, str) and value and "\0" not in value)
    )


def _value_of(line: str) -> object:
    try:
        return tomllib.loads(line.strip()).get("state_directory")
    except tomllib.TOMLDecodeError:
        return None


def expanded(directory: str) -> Path:
    """As it is meant; as it stands where nobody knows whose home that is."""
    try:
        return Path(directory).expanduser()
    except RuntimeError:
        return Path(directory)


def listen_address(text: str) -> tuple[str, int]:
    """Split "host:port".  Raises `ConfigurationError`."""
    host, colon, port = text.rpartition(":")
    number = int(port) if len(port) < 6 and port.isascii() and port.isdigit() else 0
    if not colon or not host or not 0 < number < 65536:
        raise ConfigurationError("sip_listen: must be written as 127.0.0.1:5060")
    return host, number

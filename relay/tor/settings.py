"""How a role reaches Tor: table `[tor]` of every role's configuration."""

from typing import Literal

import msgspec


class TorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`own` starts a tor of our own; `running` uses one by its control port or socket.

    `control` is "unix:/path" or "127.0.0.1:9051"; `socks` likewise, and may be empty where the control port
    tells; `network_directory` is that of a private network and empty for the public one.
    """

    mode: Literal["own", "running"] = "own"
    executable: str = "tor"
    control: str = ""
    password: str = ""
    cookie_file: str = ""
    socks: str = ""
    network_directory: str = ""

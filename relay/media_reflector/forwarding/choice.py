"""Which data plane a process uses."""

from typing import Literal

from relay.core import MisuseError, SystemClock, TransportUnavailable, get_logger
from relay.media_reflector.forwarding.face import Forwarding
from relay.media_reflector.forwarding.native import NativeForwarding
from relay.media_reflector.forwarding.twin import PlainForwarding

Preference = Literal["auto", "native", "plain"]


def load_forwarding(prefer: str = "auto") -> Forwarding:
    """A new data plane: the native one, or the plain one where "auto" finds no native one; its `name` says which.

    Raises `TransportUnavailable` when "native" is asked for and not there.
    """
    match prefer:
        case "plain":
            return PlainForwarding(SystemClock())
        case "native":
            return NativeForwarding()
        case "auto":
            try:
                return NativeForwarding()
            except TransportUnavailable as error:
                get_logger("reflector").warning("plain data plane", because=str(error))
                return PlainForwarding(SystemClock())
    raise MisuseError("a data plane is auto, native or plain")

"""What an agent makes once, at its first start, and keeps: its identity, and the password of its softphone."""

import msgspec

from relay.agent.kept import Kept
from relay.core import ConfigurationError, Entropy, MisuseError
from relay.identity import Identity
from relay.wire import UNREADABLE

IDENTITY_FILE = "identity.key"
SOFTPHONE_FILE = "softphone.json"

_PASSWORD_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class Softphone(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a softphone needs to register at this agent."""

    user: str
    password: str


def own_identity(state: Kept, entropy: Entropy) -> Identity:
    """The agent's identity, made at the first start.  Raises `ConfigurationError`, `NotKept`."""
    with state.locked("identity"):
        seed = state.read(IDENTITY_FILE)
        if seed is None:
            identity = Identity.generate(entropy)
            state.write(IDENTITY_FILE, identity.seed)
            return identity
    try:
        return Identity.from_seed(seed)
    except MisuseError:
        raise damaged(IDENTITY_FILE) from None


def own_softphone(state: Kept, user: str, entropy: Entropy) -> Softphone:
    """The credentials that a softphone registers with, made at the first start.  Raises as `own_identity`."""
    with state.locked("softphone"):
        content = state.read(SOFTPHONE_FILE)
        if content is not None:
            try:
                kept = msgspec.json.decode(content, type=Softphone)
            except UNREADABLE:
                raise damaged(SOFTPHONE_FILE) from None
            if kept.user == user:
                return kept
        password = "".join(entropy.choice(_PASSWORD_ALPHABET) for _ in range(20))
        made = Softphone(user, password)
        state.write(SOFTPHONE_FILE, msgspec.json.encode(made))
        return made


def damaged(name: str) -> ConfigurationError:
    """Of what is kept and must not be made anew without its owner's doing."""
    return ConfigurationError(
        f"{name} in the state directory is damaged; restore it, or move it away to begin anew"
    )

"""Run as a process of its own by `test_keyed_voice.py`: calls over two epochs, and searches of all of its memory.

Prints, for each moment, which keys are found in it: those of the first epoch, those of the present one.  What is looked
for is kept inverted, so that the search does not find itself.  It looks for what opens cells: the key of each
direction, and the two AES keys that are made of it.
"""

import gc

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from relay.agent.keyed_voice import KeyedVoice
from relay.core import SystemEntropy, wipe
from relay.forward_publish import CallKeys, call_epochs

INVERTED = bytes(255 - value for value in range(256))


def inverted_keys(voice: KeyedVoice) -> list[bytes]:
    """Everything that opens a cell of the present epoch, inverted."""
    found = []
    for key in (voice._epochs._send, voice._epochs._receive):
        found.append(key.translate(INVERTED))
        for label in (b"key", b"hp"):
            made = bytearray(32)
            HKDFExpand(SHA256(), 32, b"bayonne end-to-end cell " + label).derive_into(key, made)
            found.append(made.translate(INVERTED))
            wipe(made)
    return [bytes(one) for one in found]


def in_memory(needles: list[bytes]) -> bool:
    """Whether any of them, turned back, is anywhere in memory that can be written to."""
    with open("/proc/self/maps") as maps:
        regions = [line.split() for line in maps if line.split()[1].startswith("rw")]
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for region in regions:
            start, end = (int(part, 16) for part in region[0].split("-"))
            try:
                memory.seek(start)
                # Nothing of what was read stays in memory, nor what is looked for turned back.
                content = bytearray(end - start)
                memory.readinto(content)
            except (OSError, ValueError, OverflowError):
                continue
            turned = content.translate(INVERTED)
            wipe(content)
            found = any(needle in turned for needle in needles)
            wipe(turned)
            if found:
                return True
    return False


def keys() -> tuple[CallKeys, CallKeys]:
    entropy = SystemEntropy()
    up, down, transcript, again = (entropy.token(32) for _ in range(4))
    return CallKeys(up, down, transcript, again), CallKeys(down, up, transcript, again)


def say(moment: str, needles: dict[str, list[bytes]]) -> None:
    gc.collect()
    print(moment, *sorted(name for name, wanted in needles.items() if in_memory(wanted)))


def main() -> None:
    call_epochs.EPOCH_CELLS = (50, 51)
    for how in ("honest", "keeping"):
        mine, theirs = keys()
        one, other = KeyedVoice(mine, SystemEntropy()), KeyedVoice(theirs, SystemEntropy())
        kept = mine if how == "keeping" else None
        del mine, theirs
        first = inverted_keys(one)
        say(f"{how}-begun", {"first": first})
        while one.epoch < 2:
            assert one.open(other.next_body(), 0.0) is not None
            assert other.open(one.next_body(), 0.0) is not None
        present = inverted_keys(one)
        say(f"{how}-later", {"first": first, "present": present})
        one.forget()
        other.forget()
        del one, other, kept
    say("ended", {"first": first, "present": present})


main()

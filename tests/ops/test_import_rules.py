"""The checker of the import rules: a good tree passes, every kind of breach is caught."""

from pathlib import Path

import pytest

from ops.import_rules import Breach, check, main

GOOD = {
    "relay/__init__.py": '__version__ = "0"\n',
    "relay/core/__init__.py": "from relay.core.clock import Clock\n",
    "relay/core/clock.py": "import time\n\nnow = time.time\n",
    "relay/wire/__init__.py": "from relay.core import Clock\n",
    "relay/rtp/cell.py": "from relay.wire import anything\nimport relay.core\n",
    "relay/chaff/pace.py": "import math\n",
    "relay/sip/message.py": "from relay.rtp import cell\n",
    "relay/agent/calls.py": "import relay.sip.message\nfrom relay import tor\n",
    "relay/tor/client.py": "import asyncio\n",
    "relay/lab/demo.py": "from relay.agent import calls\n",
    "relay/cli/demo.py": "from relay.lab import demo\n",
    "tests/core/test_clock.py": "",
    "tests/integration/test_anything.py": "",
    "tests/sip/test_rfc4475.py": "",
}


def tree(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def test_a_tree_in_order_passes(tmp_path: Path) -> None:
    assert check(tree(tmp_path, GOOD)) == []
    assert main([str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("relay/core/bad.py", "import relay.wire\n", "stands above it"),
        ("relay/wire/bad.py", "from relay.rtp.cell import CELL_SIZE\n", "stands above it"),
        ("relay/rtp/bad.py", "from relay import agent\n", "stands above it"),
        ("relay/sip/bad.py", "from relay.tor import TorClient\n", "stand on one level"),
        ("relay/node/bad.py", "from relay.agent import calls\n", "stand on one level"),
        ("relay/lab/bad.py", "from relay.cli import demo\n", "stand on one level"),
        ("relay/identity/bad.py", "def f() -> None:\n    from relay.rtp import cell\n", "stand on one level"),
        ("relay/chaff/bad.py", "from relay.rtp.cell import CELL_SIZE\n", "must never know"),
        ("relay/chaff/bad.py", "import relay.sip\n", "must never know"),
        ("relay/media_reflector/bad.py", "from relay.identity import Identity\n", "must never know"),
        ("relay/lab/bad.py", "import random\n", "clock or chance"),
        ("relay/agent/bad.py", "from time import monotonic\n", "clock or chance"),
        ("relay/rtp/bad.py", "import secrets as s\n", "clock or chance"),
        ("relay/tor/bad.py", "import os\n\nkey = os.urandom(16)\n", "clock or chance"),
        ("relay/tor/bad.py", "import socket\n\nf = socket.getaddrinfo\n", "asks DNS"),
        ("relay/core/bad.py", "import socket\n\nf = socket.gethostbyname\n", "asks DNS"),
        ("relay/sip/bad.py", "from .message import x\n", "relative import"),
        ("relay/sip/bad.py", "from tests.sip import x\n", "not part of the product"),
        ("relay/sip/bad.py", "def (:\n", "cannot be parsed"),
        ("relay/helpers/bad.py", "", "has no level"),
        ("relay/__init__.py", "from relay.core import Clock\n", "imports nothing"),
        ("tests/core/test_missing.py", "", "mirrors no source"),
        ("tests/test_loose.py", "", "mirrors no source"),
    ],
)
def test_each_breach_is_caught(tmp_path: Path, name: str, text: str, message: str) -> None:
    breaches = check(tree(tmp_path, GOOD | {name: text}))
    assert [breach.path for breach in breaches] == [name]
    assert message in breaches[0].message
    assert main([str(tmp_path)]) == 1


def test_a_breach_names_its_line(tmp_path: Path) -> None:
    breaches = check(tree(tmp_path, GOOD | {"relay/wire/bad.py": "import math\n\nimport relay.sip\n"}))
    assert breaches == [Breach("relay/wire/bad.py", 3, breaches[0].message)]
    assert str(breaches[0]).startswith("relay/wire/bad.py:3: ")


def test_this_tree_is_in_order() -> None:
    assert check(Path(__file__).resolve().parents[2]) == []

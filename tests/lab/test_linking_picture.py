"""The picture is drawn whatever the rows say."""

from pathlib import Path

from relay.core import SeededEntropy
from relay.lab.flow_population import Scenario
from relay.lab.linking_picture import draw_linking
from relay.lab.period_change import Change, Renewal
from relay.lab.token_linking import curve
from relay.lab.token_succession import follow


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    rows = curve([3, 6], [2, 4], SeededEntropy(1), runs=2)
    path = tmp_path / "linking.png"
    draw_linking(
        path,
        {"by day": rows, "always": curve([3], [4], SeededEntropy(2), Scenario(always=True))},
        [follow(Change(4, 4, renewal), SeededEntropy(3)) for renewal in (Renewal.SHIPPED, Renewal.AT_ONCE)],
    )
    assert path.read_bytes()[:4] == b"\x89PNG"

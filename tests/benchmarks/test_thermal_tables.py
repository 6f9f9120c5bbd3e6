"""Tables of the thermal scores: means and errors by hand, and which rows they have."""

import numpy as np
import pytest
from common import thermal_scores, thermal_tables
from common.thermal_tables import over_scenes, pooled, spread

from xsr.training import thermal_synthetic as synthetic
from xsr.training.thermal import ThermalScene


def test_mean_and_standard_error_by_hand():
    assert spread([1.0, 2.0, 3.0]) == "+2.00 ± 0.58"  # 1 / sqrt(3)
    assert spread([-1.5]) == "-1.50"
    assert spread([]) == ""


def test_bold_is_what_is_above_its_error():
    assert pooled([1.0, 2.0, 3.0]) == "**+2.00 ± 0.58**"
    assert pooled([-1.0, 1.5]) == "+0.25 ± 1.25"
    assert pooled([4.0]) == "+4.00"  # of one scene there is no error


def test_scenes_of_training_are_left_out_beside_all():
    means = {("A", 4): [1.0], ("B", 4): [3.0], ("C", 4): [8.0], ("A", 8): [1.0]}
    assert over_scenes(means, ("C",)) == [
        ["all scenes, ×4", "**+4.00 ± 2.08**"],
        ["scenes not in training, ×4", "**+2.00 ± 1.00**"],
    ]
    assert over_scenes(means, ()) == [["all scenes, ×4", "**+4.00 ± 2.08**"]]


@pytest.fixture(scope="module")
def pairs():
    scenes = [
        ThermalScene(name, *synthetic.draw_scene(np.random.default_rng(seed), 64)) for seed, name in enumerate("AB")
    ]
    return [thermal_scores.pair(scene, 4) for scene in scenes]


def test_margins_are_differences_of_psnr(pairs):
    made = thermal_scores.Estimates()
    rows = thermal_tables.margins(pairs, made, "guided filter", ("guided filter", "bilinear"), thermal_tables.freely)
    cells = [[cell.strip("|* ") for cell in line.split(" | ")] for line in rows.splitlines()[2:]]
    assert [row[0] for row in cells] == ["A, ×4", "B, ×4", "all scenes, ×4"]
    assert all(row[1] == "+0.00 ± 0.00" for row in cells)
    gains = [
        thermal_scores.psnr(p, made(p, "guided filter")) - thermal_scores.psnr(p, made(p, "bilinear")) for p in pairs
    ]
    for row, gain in zip(cells, gains, strict=False):
        assert float(row[2].split(" ± ")[0]) == pytest.approx(gain, abs=0.5)  # parts, where PSNR is of the whole


def test_means_are_kept_where_they_are_held(pairs):
    _, means, patterns = thermal_tables.kept(pairs[:1], thermal_scores.Estimates(), "guided filter")
    left = [float(number) for cell in means.splitlines()[2].split("|")[2:-1] for number in cell.split("→")]
    assert len(left) == 10
    assert max(left) < 0.02
    assert "truth" in patterns.splitlines()[0]

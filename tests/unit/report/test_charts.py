"""Scales, ticks, marks: where they are, not only that they are there."""

import math
import re

import pytest

from matrixhub.report.charts import Curve, Point, curves, frontier, scatter, strip
from matrixhub.report.figures import bytes_text, count_text, ms_text, seconds_text
from matrixhub.report.scales import Scale, linear_ticks, log_ticks, padded, padded_log


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.93, 0.98, [0.93, 0.94, 0.95, 0.96, 0.97, 0.98]),
        (-3.0, 250.0, [0.0, 100.0, 200.0]),
    ],
)
def test_linear_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert linear_ticks(low, high) == pytest.approx(ticks)


def test_log_ticks_suit_the_length_of_the_axis() -> None:
    assert log_ticks(1, 100) == [1, 2, 5, 10, 20, 50, 100]
    assert log_ticks(0.01, 10_000) == pytest.approx([0.01, 0.1, 1, 10, 100, 1000, 10_000])
    assert log_ticks(10, 13) == [10, 11, 12, 13]


def test_a_scale_maps_ends_to_ends() -> None:
    assert [Scale(0, 10, 50, 150)(v) for v in (0, 5, 10)] == [50, 100, 150]
    assert Scale(1, 100, 0, 200, log=True)(10) == pytest.approx(100)


def test_equal_values_still_have_an_axis() -> None:
    for values in ([0.0], [1.0, 1.0], [-3.0], [5e6]):
        scale = padded(values, 0, 100)
        assert scale.low < scale.high and scale.ticks and math.isfinite(scale(values[0]))
    assert padded_log([7.0], 0, 100).low < 7 < padded_log([7.0], 0, 100).high
    assert padded([0.9, 0.999], 0, 1).high == 1.0, "no share is above 1"


def test_the_frontier_is_what_nothing_beats_in_both() -> None:
    points = [(1.0, 0.7), (2.0, 0.9), (3.0, 0.8), (2.0, 0.9)]
    assert frontier(points, higher=True) == [True, True, False, True]
    assert frontier(points, higher=False) == [True, False, False, False]


def test_points_stand_where_their_figures_are() -> None:
    made = [Point("a", "a", "x", 1.0, 0.5, True), Point("b", "b", "y", 10.0, 0.9, True)]
    text = scatter(made, title="t", metric="accuracy", groups=["x", "y"])
    places = [tuple(map(float, pair)) for pair in re.findall(r"translate\(([\d.]+) ([\d.]+)\)", text)]
    (ax, ay), (bx, by) = places
    assert ax < bx and ay > by
    shapes = re.findall(r'<path d="([^"]+)"', text)
    assert len(set(shapes)) == 2, "groups differ in shape, not in colour alone"
    assert "0.9000 accuracy, 10.0 ms" in text


def test_a_gap_in_a_curve_is_left_out_and_the_kept_epoch_is_marked() -> None:
    text = curves([Curve("a", [0.1, None, 0.3], strong=True, mark=2)], title="t", measure="loss")
    (points,) = re.findall(r'points="([^"]+)"', text)
    assert len(points.split()) == 2
    assert "epoch 3 was kept, 0.3000" in text


def test_a_strip_shares_the_scale_of_its_product() -> None:
    text = strip(0.5, (0.4, 0.6), 0.25, low=0.0, high=1.0)
    assert 'cx="70"' in text
    assert 'x1="57.2" x2="82.8"' in text
    assert "score 0.5000, 95 % interval 0.4000 to 0.6000, best baseline 0.2500" in text
    assert 'cx="6"' in strip(0.5, None, None, low=0.5, high=0.5)


def test_numbers_are_short() -> None:
    assert [count_text(n) for n in (0, 770, 1000, 22_600_000, 7e9, None)] == [
        "0", "770", "1.00k", "22.6M", "7.00B", "-",
    ]  # fmt: skip
    assert [bytes_text(n) for n in (12, 999_600, 91_000_000)] == ["12 B", "1.00 MB", "91.0 MB"]
    assert [ms_text(n) for n in (0.0912, 7.25, 16.04, 123.4, None)] == [
        "0.09 ms", "7.25 ms", "16.0 ms", "123 ms", "-",
    ]  # fmt: skip
    assert [seconds_text(s) for s in (0.04, 99.0, 185.0, None)] == ["0.0 s", "99.0 s", "3 min 05 s", "-"]

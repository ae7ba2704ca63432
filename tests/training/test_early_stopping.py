"""When a training stops: early by its accuracies, or at its budget."""

import pytest

from stn_paper.training.loop import stop_reason
from stn_paper.training.protocol import Protocol


def reason(accuracies, **settings):
    protocol = Protocol("made-up", **({"min_epochs": 4, "max_epochs": 20, "window": 4} | settings))
    return stop_reason([{"validation_accuracy": a} for a in accuracies], protocol)


@pytest.mark.parametrize(
    "accuracies, expected",
    [
        ([], ""),
        ([50.0] * 3, ""),  # under the floor
        ([50.0] * 4, "early"),
        ([50.0, 50.0, 50.0, 50.1], ""),  # just rose
        ([50.1, 50.0, 50.1, 50.0], "early"),  # just fell
        ([50.5, 50.0, 50.5, 50.0], "early"),  # each 0.25 from the mean: within the tolerance
        ([50.5, 50.0, 50.5, 49.999], ""),  # 0.2508 from the mean
        ([10.0, 90.0, 50.0, 50.0, 50.0, 50.0], "early"),  # only the window counts
        ([50.0, 50.0, 51.0, 50.0, 50.0, 50.0], ""),  # one outlier inside the window
        ([50.4, 50.0, 50.0, 50.0], ""),  # the first 0.3 from the mean, though they spread by less than 0.25
        ([50.0] * 20, "budget"),
        (list(range(20)), "budget"),
    ],
)
def test_a_run_stops_early_when_its_last_epochs_are_alike(accuracies, expected):
    assert reason(accuracies) == expected


def test_the_floor_and_the_window_both_hold_it_back():
    assert reason([50.0] * 6, min_epochs=7) == ""
    assert reason([50.0] * 7, min_epochs=7) == "early"
    assert reason([50.0] * 9, min_epochs=1, window=10) == ""
    assert reason([50.0] * 10, min_epochs=1, window=10) == "early"


def test_the_tolerance_is_a_setting():
    assert reason([50.6, 50.0, 50.6, 50.0], tolerance=0.25) == ""
    assert reason([50.6, 50.0, 50.6, 50.0], tolerance=0.35) == "early"


def test_a_floor_at_the_budget_never_stops_early():
    assert reason([50.0] * 19, min_epochs=20) == ""

"""The runs of first steps are counted by net and rate, tested exactly, and left out of other analyses."""

import pytest
from helpers import write_run

from stn_paper.analysis import frame, stability, statistics, theta

INSIDE, OUTSIDE = 0.0, 100.0


def write(net, rate, seed, outside, moved=2.0):
    spec = stability.start_spec(net, rate, seed)
    diagnostics = {"mean": [1.0, 0, 0, 0, 1, 0], "std": [0.0] * 6}
    diagnostics |= {"outside": outside, "spread": [0.5, 1.0], "from_identity": moved}
    values = {"train_accuracy": 20.0, "validation_accuracy": 20.0, "test_accuracy": 20.0}
    losses = dict.fromkeys(("train_loss", "validation_loss", "test_loss"), 4.0)
    epoch = values | losses | {"theta": diagnostics}
    path = write_run(net, seed, 20.0, spec.backbone, spec.dataset, spec.protocol, [epoch])
    assert path.stem == spec.name
    return path


def test_a_run_of_first_steps_takes_300_steps_at_a_constant_rate():
    for rate in stability.RATES:
        protocol = stability.start_spec("lstn", rate, 3).protocol
        assert protocol.train_images == 300 * protocol.batch_size and protocol.max_epochs == 1
        assert protocol.schedule == "constant" and protocol.localization_rate == rate
    assert len(stability.start_names()) == 3 * 2 * 10


def test_runs_are_counted_by_net_and_rate_and_left_out_of_the_other_analysis():
    for seed in range(3):
        write("lstn", 1.0, seed, OUTSIDE if seed else INSIDE, moved=9.0 + seed)
        write("stn", 1.0, seed, INSIDE)
        write("stn", 0.1, seed, INSIDE)
    counts = stability.start_counts(stability.start_runs())
    assert counts[["variant", "rate", "runs", "collapsed"]].to_numpy().tolist() == [
        ["stn", 1.0, 3, 0],
        ["stn", 0.1, 3, 0],
        ["lstn", 1.0, 3, 2],
    ]
    last = counts.iloc[2]
    assert last["moved"] == 10.0 and last["spread"] == 0.5
    assert (last["low"], last["high"]) == pytest.approx((9.4, 99.2), abs=0.1)  # 2 of 3
    tests = stability.start_tests(stability.start_runs()).set_index("comparison")
    assert tests.loc["L-STN against STN, the full rate", "p"] == pytest.approx(0.4)
    assert tests.loc["all nets, the full rate against a tenth", "first"] == (2, 6)
    assert len(tests) == 3 and (tests["p_holm"] >= tests["p"]).all()
    assert tests["p_moved_holm"].min() == pytest.approx(3 * tests["p_moved"].min())
    moved = tests.loc["L-STN against STN, the full rate", ["first_moved", "second_moved"]]
    assert moved.tolist() == [10.0, 2.0] and (tests["p_moved_holm"] >= tests["p_moved"]).all()
    assert theta.theta_by_run().empty and len(frame.records_by_name()) == 9


def test_without_runs_there_is_nothing_to_count():
    found = stability.start_runs()
    assert stability.start_counts(found).empty and stability.start_tests(found).empty


def test_an_exact_interval_holds_the_share_and_never_leaves_0_to_100():
    assert statistics.exact_interval(0, 10) == pytest.approx((0, 100 * (1 - 0.025**0.1)))
    assert statistics.exact_interval(10, 10) == pytest.approx((100 * 0.025**0.1, 100))
    low, high = statistics.exact_interval(3, 10)
    assert 0 < low < 30 < high < 100


def test_fishers_test_is_that_of_the_lady_tasting_tea():
    assert statistics.fisher_test((4, 4), (0, 4)) == pytest.approx(2 / 70)
    assert statistics.fisher_test((2, 4), (2, 4)) == 1


def test_the_rank_test_counts_orders_and_not_distances():
    assert statistics.rank_test([1, 2, 3, 4], [5, 6, 7, 8]) == pytest.approx(2 / 70)
    assert statistics.rank_test([1, 2, 3, 4], [5, 6, 7, 1e9]) == pytest.approx(2 / 70)

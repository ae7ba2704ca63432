"""Theta in made-up records: which runs have a constant theta, and which runs collapsed."""

from helpers import write_run

from stn_paper.analysis import theta

IDENTITY = [1.0, 0, 0, 0, 1, 0]
FAR = [1.0, 0, 9, 0, 1, 0]


def write(variant, mean=IDENTITY, std=0.0, dataset="caltech101", seed=0):
    values = {"mean": mean, "std": [std, *[0.0] * 5]}
    backbone, protocol = ("mnist-cnn", "system") if dataset.startswith("mnist") else ("resnet18", "reduced")
    write_run(variant, seed, 50.0, backbone, dataset, protocol, row={"theta": values})


def test_runs_are_of_applied_localization_nets():
    write_run("original", 0, 50.0)
    write("stn-released")
    write("constant")
    write("stn", std=0.003)
    found = theta.theta_by_run()
    assert found[["variant", "std", "collapsed"]].to_numpy().tolist() == [["stn", 0.003, False]]


def test_in_an_older_record_the_mean_map_decides():
    write("stn", mean=FAR, std=2.0)
    write("vstn", mean=[1.0, 0, 0.5, 0, 1, 0])
    found = theta.theta_by_run().set_index("variant")
    assert found["outside"].to_dict() == {"stn": 100.0, "vstn": 25.0}
    assert found["collapsed"].to_dict() == {"stn": True, "vstn": False}
    (curve,) = theta.outside_by_epoch(theta.theta_by_run()).values()
    assert curve == [100.0] * 20


def test_runs_are_counted_on_photographs_and_elsewhere():
    write("stn", mean=FAR, std=3.0)
    write("vstn", std=0.02)
    write("lstn", std=0.005)
    write("lstn", std=0.3, dataset="mnist-rts")
    counts = theta.count_outcomes(theta.theta_by_run())
    assert counts.loc[True].tolist() == [3, 1, 1]
    assert counts.loc[False].tolist() == [1, 0, 0]

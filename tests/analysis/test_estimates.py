"""Estimates of hours use the most similar records, jobs request resources by them, and no record is no error."""

import json
import re
from dataclasses import replace

import pytest
import torch
from helpers import edit, write_run

from stn_paper.analysis import estimates, grid
from stn_paper.models import build_model, costs
from stn_paper.training import records
from stn_paper.training.spec import RunSpec

CPU, GPU = "Some CPU, 2 cores", "Some GPU"


def measure(speed, backbone="resnet18", variant="original", device=CPU, memory=1000, seed=0):
    """Store a record of a reduced run, at 64 pixels, with this number of training images a second."""
    measured = {"train_images_per_second": speed, "peak_memory_mib": memory}
    path = write_run(variant, seed, 50, backbone)
    edit(path, data={"image_size": 64}, measured=measured, environment={"device": device})


def expected(backbone="resnet18", variant="original", protocol="reduced", device=None):
    spec = RunSpec("caltech101", backbone, variant, protocol)
    return estimates.estimate_hours(spec, estimates.measurements(), device)


def basis(backbone="resnet18", variant="original", protocol="reduced"):
    spec = RunSpec("caltech101", backbone, variant, protocol)
    return estimates.nearest_measurements(spec, estimates.measurements(), CPU)[0]


def test_hours_are_epochs_times_images_over_throughput():
    measure(100)
    trained, evaluated = 15 * 101, 1200 + 1200
    assert expected() == pytest.approx(20 * (trained + evaluated / 3) / 100 / 3600)


def test_smoke_runs_are_no_basis_and_other_precisions_of_their_own_runs_only():
    measure(100)
    measured = {"seconds": 1, "train_images_per_second": 7}
    record = json.loads(write_run("original", 1, 50).read_text())
    kept = {key: value for key, value in record.items() if key not in ("schema", "spec")}
    kept |= {"measured": measured, "environment": {"device": CPU, "commit": ""}}
    usual = RunSpec("caltech101", "resnet18", "original", "reduced", 2)
    rounded = replace(usual, protocol=replace(usual.protocol, precision="bfloat16"))
    smoke = RunSpec("caltech101", "resnet18", "original", "smoke")
    records.write_record(smoke, kept | {"stopped": "early"})

    def speeds(spec):
        return [m.speed for m in estimates.nearest_measurements(spec, estimates.measurements(), CPU)[1]]

    assert speeds(usual) == speeds(rounded) == [100]  # of bfloat16 nothing is measured yet
    records.write_record(rounded, kept)
    assert (speeds(usual), speeds(rounded)) == ([100], [7])


def test_the_nearest_records_are_the_basis():
    measure(100)
    measure(300, seed=1)
    measure(50, variant="stn")
    measure(7, backbone="effb0")
    found = basis(), basis(variant="lstn"), basis(protocol="equal"), basis("resnet50")
    assert found == tuple(estimates.BASES)


def test_another_image_size_is_scaled_by_the_area():
    measure(100)
    at_64, at_224 = (estimates.gflops("resnet18", "original", size) for size in (64, 224))
    assert at_224 / at_64 == pytest.approx((224 / 64) ** 2, rel=0.02)
    epochs, images = 40, 6277 + (1200 + 1200 / 40) / 3
    assert expected(protocol="equal") == pytest.approx(epochs * images * at_224 / at_64 / 100 / 3600)


def test_operations_of_systems_are_measured_and_of_the_papers_networks_read():
    assert estimates.gflops("mnist-cnn", "stn", 42) > estimates.gflops("mnist-cnn", "original", 42) > 0
    with torch.device("meta"):
        whole = build_model("resnet18", "vstn", 10, 96)
    assert estimates.gflops("resnet18", "vstn", 96) == pytest.approx(
        costs.measure(whole, 96).gflops, rel=1e-12
    )
    assert estimates.gflops("effb0", "lstn-released", 224) == estimates.gflops("effb0", "lstn", 224)


def test_a_gpu_comes_before_a_cpu_with_more_records():
    for seed in range(2):
        measure(100, seed=seed)
    measure(1000, seed=2, device=GPU)
    assert estimates.devices(estimates.measurements()) == [GPU, CPU]
    assert expected() == expected(device=GPU) == pytest.approx(expected(device=CPU) / 10)


def test_a_run_without_an_estimate_requests_the_longest_time():
    spec = RunSpec("caltech101", "resnet18", "original", "equal")
    assert estimates.estimate_hours(spec, []) is None
    resources = estimates.resources(spec, [], longest=300)
    assert resources == {"runtime": 300, "mem_mb": estimates.LEAST_MEMORY, "gpu": 1}


def test_a_request_has_a_margin_grows_with_attempts_and_has_a_maximum():
    measure(100)
    measured, spec = estimates.measurements(), RunSpec("caltech101", "resnet18", "original", "reduced")
    first, second = (estimates.resources(spec, measured, attempt)["runtime"] for attempt in (1, 2))
    assert first > estimates.STARTUP_MINUTES + 60 * expected()
    assert second - estimates.STARTUP_MINUTES == pytest.approx(2 * (first - estimates.STARTUP_MINUTES), abs=2)
    assert estimates.resources(spec, measured, 100, longest=60)["runtime"] == 60


def test_memory_on_a_cpu_grows_with_the_images():
    measure(100, memory=6000)
    measured = estimates.measurements()
    small, large = (RunSpec("caltech101", "resnet18", "original", p) for p in ("reduced", "equal"))
    assert estimates.resources(small, measured, gpus=0)["mem_mb"] == 9000
    assert estimates.resources(large, measured, gpus=0)["mem_mb"] > 10 * 9000
    assert estimates.resources(large, measured, gpus=1)["mem_mb"] == estimates.LEAST_MEMORY


def test_a_job_on_a_cpu_requests_the_time_of_a_cpu():
    measure(100)
    measure(100_000, device=GPU, seed=1)
    spec, measured = RunSpec("caltech101", "resnet18", "original", "reduced"), estimates.measurements()
    on_cpu, on_gpu = (estimates.resources(spec, measured, gpus=gpus)["runtime"] for gpus in (0, 1))
    assert on_cpu > on_gpu == estimates.STARTUP_MINUTES + 1
    gpus_only = [m for m in measured if m.device == GPU]
    assert estimates.resources(spec, gpus_only, gpus=0, longest=300)["runtime"] == 300


def test_a_device_that_was_measured_in_bfloat16_alone_has_no_hours_in_float32():
    path = write_run("original", 0, 50, protocol="equal")
    measured = {"train_images_per_second": 100, "peak_memory_mib": 1}
    edit(path, data={"image_size": 224}, measured=measured, environment={"device": GPU})
    assert estimates.hours_by_target()[GPU]["systems"] == estimates.UNMEASURED


def test_images_are_those_of_the_protocol():
    def images(dataset, backbone, protocol):
        return estimates.images_an_epoch(RunSpec(dataset, backbone, "original", protocol))

    assert images("caltech101", "resnet18", "equal") == (6277, 1200 + 1200 / 40)
    assert images("cifar10", "resnet18", "reduced") == (2000, 4000)
    assert images("digits", "resnet18", "smoke") == (40, 80)
    assert images("cifar10", "cifar-cnn", "system") == (49_000, 11_000)


def test_missing_runs_have_estimated_hours_on_a_device():
    lacking, runs = re.findall(r"\d+", estimates.missing_in_words(["smoke"], []))  # and no hours
    assert lacking == runs
    measure(100, "effb0")
    line = estimates.missing_in_words(["table6"], estimates.measurements(), 1, "reduced")
    assert "27 of 28" in line and f"hours on {CPU}" in line and estimates.UNMEASURED in line
    measure(1000, "effb0", device=GPU, seed=1)
    line = estimates.missing_in_words(["table6"], estimates.measurements())
    assert f"GPU hours on {GPU}" in line and estimates.UNMEASURED not in line


@pytest.mark.parametrize("device", [CPU, GPU])
def test_the_page_says_where_no_gpu_was_measured(device):
    measure(100, device=device)
    view = estimates.hours_by_target()
    assert list(view.index) == [*grid.GRID, "all, shared runs once"]
    assert list(view.columns) == (["Runs", GPU] if device == GPU else ["Runs", "GPU", CPU])
    assert (estimates.UNMEASURED in set(view.get("GPU", []))) == (device == CPU)
    assert list(estimates.growth_with_seeds()["Runs"]) == [74, 222, 370]
    assert len(estimates.growth_with_backbones()) == 7
    hours = [float(h) for h in estimates.growth_with_size(sizes=(64, 128))[device]]
    assert hours[1] == pytest.approx(4 * hours[0], rel=0.1)
    assert estimates.recorded_throughput()["Records"].tolist() == [1]


def test_each_device_says_what_its_hours_rest_on():
    measure(100, "effb0")
    measure(100, "effb1", device="Other CPU, 2 cores")
    view = estimates.growth_with_backbones()
    rests = {device: view[device]["Estimated from"] for device in (CPU, "Other CPU, 2 cores")}
    *_, own, others = estimates.BASES
    assert rests[CPU][["EfficientNet-b0", "EfficientNet-b1"]].tolist() == [own, others]
    assert rests["Other CPU, 2 cores"][["EfficientNet-b0", "EfficientNet-b1"]].tolist() == [others, own]
    assert list(view["GPU"]) == ["Hours"]


def test_without_records_there_are_no_hours():
    assert estimates.hours_by_target()["GPU"].eq(estimates.UNMEASURED).all()
    seeds, runs, lacking = re.findall(r"\b\d+\b", estimates.cost_in_words())  # and no hours
    assert seeds == "3" and runs == lacking
    assert estimates.recorded_throughput().iloc[0, 0] == estimates.UNMEASURED


def test_the_fastest_record_of_a_network_counts():
    spec = RunSpec("caltech101", "resnet18", "original", "reduced")
    slow, fast = (
        estimates.Measurement("A, 2 cores", "resnet18", "original", 64, 20, speed, 100.0)
        for speed in (5.0, 50.0)
    )
    assert estimates.estimate_hours(spec, [slow, fast, slow]) == estimates.estimate_hours(spec, [fast])

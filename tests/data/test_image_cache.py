"""The cache of decoded images: made once, made again if damaged, and by one process."""

import errno
import multiprocessing
import os
import resource
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import COLOURS, cached, corrupt, root_of, sentence

from stn_paper import paths
from stn_paper.data import datasets, image_cache, listings
from stn_paper.data.datasets import load_images, split
from stn_paper.errors import InputError
from stn_paper.paths import cache_dir


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

"""The cache of decoded images: a memory-mapped uint8 array for each dataset and size, and a note with its digest.

`datasets` calls `decoded_images`; the first process decodes the files, and other processes wait.
"""

import errno
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..errors import UNREADABLE, InputError, is_from_handler, printable
from ..paths import cache_dir, lock_file, replace_file
from .distortions import DISTORTIONS, distort_digits, known_theta


def unusable_image(item, verb, reason):
    """Return the InputError for an image that cannot be read or decoded (`verb`)."""
    choice = "replace the file, or leave such images out with --skip-corrupt"
    return InputError(f"Image {item} cannot be {verb}: {choice} ({str(reason).rstrip('.')}).")


BYTES_AT_ONCE = 2**24  # bytes that are hashed at once


def decoded_images(name, dataset, listing, fingerprint, image_size, skip_corrupt, until):
    """Return the images as a memory-mapped uint8 array (N, 3, S, S), scenes (N, 1, S, S), and the skipped images.

    Skipped images are black; they are returned as {index: file}. `dataset` is the row of `datasets.DATASETS`. The array
    gets its name when it is complete. A note beside it has its digest, which is checked on opening: a damaged or
    exchanged array is made again. Without `skip_corrupt`, an array is also made again if its skipped images can be
    decoded now, and InputError is raised for an image that cannot be decoded.
    """
    cached = cache_dir() / "images" / f"{name}_{image_size}_{fingerprint}.npy"
    shape = len(listing.items), _channels(dataset), image_size, image_size
    found = _open_cached(cached, shape)
    if found is None:
        with lock_file(cached, until):
            found = _open_cached(cached, shape)  # another process may have made it
            if found is None:
                decode_all(listing, dataset, image_size, cached, _note_path(cached), skip_corrupt)
                found = _open_cached(cached, shape)
    if found is None:
        raise InputError(f"{cached} cannot be kept: it was damaged while it was written, so check the disk.")
    images, skipped = found
    if skipped and not skip_corrupt:
        # each raises, unless the machine was short of memory when the image was decoded first
        for index in skipped:
            decode_image(listing.items[index], image_size)
        _note_path(cached).unlink(missing_ok=True)
        return decoded_images(name, dataset, listing, fingerprint, image_size, skip_corrupt, until)
    return images, skipped


def _channels(dataset):
    """The number of channels of the cached images: 1 for scenes, which are grey and large, else 3."""
    return 1 if dataset.scene else 3


def _open_cached(cached, shape):
    """Return the cached array and its skipped images, {index: file}; or None if the cache is missing or damaged."""
    try:
        note = json.loads(_note_path(cached).read_text(encoding="utf-8"))
        if not cached.is_file() or cached.stat().st_size != note["bytes"]:
            return None
        images = np.load(cached, mmap_mode="c")  # copy-on-write: torch asks for a writable array
        skipped = {int(index): str(file) for index, file in note["skipped"].items()}
        whole = images.dtype == np.uint8 and images.shape == shape
        if not whole or note["digest"] != _array_digest(images, cached.name, skipped):
            return None
    except UNREADABLE as error:
        if is_from_handler(error):
            raise
        return None
    return images, skipped


def _note_path(cached):
    return cached.with_suffix(".json")


def _array_digest(images, name, skipped):
    """SHA-256 of the array's blocks (hashed on all cores), its file's name and its skipped images."""
    pixels = images.reshape(-1)
    blocks = (pixels[start : start + BYTES_AT_ONCE] for start in range(0, len(pixels), BYTES_AT_ONCE))
    digest = hashlib.sha256(json.dumps([name, images.shape, sorted(skipped.items())]).encode())
    with ThreadPoolExecutor() as pool:
        for block in pool.map(lambda block: hashlib.sha256(block).digest(), blocks):
            digest.update(block)
    return digest.hexdigest()


def decode_all(listing, dataset, size, cached, noted, skip_corrupt):
    """Write the array and its note. The disk space is reserved first, so that a full disk raises an error at once.

    The array is not memory-mapped for writing, because on a full disk a write to mapped memory kills the process.
    """
    items, skipped = listing.items, {}
    shape = len(items), _channels(dataset), size, size
    black = np.zeros(shape[1:], np.uint8)
    with replace_file(cached) as part, part.open("wb") as file, ThreadPoolExecutor() as pool:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        _reserve(file, file.tell() + int(np.prod(shape, dtype=np.int64)))
        if dataset.distortion:
            theta, kind = known_theta(dataset.distortion, len(items)), DISTORTIONS[dataset.distortion].kind
            images = distort_digits(items, theta, kind, size)
        else:
            images = pool.map(partial(decode_image, size=size, error=not skip_corrupt), items)
        for i, image in enumerate(tqdm(images, "decoding", len(items), leave=False, disable=None)):
            if image is None:
                item = items[i]
                skipped[i] = str(item.relative_to(listing.root)) if isinstance(item, Path) else f"image {i}"
                skipped[i] = printable(skipped[i])
                image = black
            if len(image) > shape[1]:
                image = image[:1]
            file.write(np.ascontiguousarray(np.broadcast_to(image, shape[1:])).data)
        file.flush()
        digest = _array_digest(np.load(part, mmap_mode="r"), cached.name, skipped)
        with replace_file(noted) as note:  # the note is written before the array gets its name
            content = {"bytes": file.tell(), "digest": digest, "skipped": skipped}
            note.write_text(json.dumps(content), encoding="utf-8")


def _reserve(file, size):
    """Reserve `size` bytes on the disk for the file, where the system supports it; OSError if the disk is too full."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except AttributeError:  # some systems do not have the function
        pass
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some file systems do not support it
            raise


def decode_image(item, size, error=True):
    """Decode an image file or array to uint8 (3, size, size); on failure return None if `error` is false."""
    try:
        if isinstance(item, Path) and not item.is_file():
            raise OSError("no such file")
        with Image.fromarray(item) if isinstance(item, np.ndarray) else Image.open(item) as image:
            resized = _scale_16_bits(image).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    except MemoryError:
        raise
    except Exception as failure:  # Pillow raises many kinds of errors, also for too large images
        if not error:
            return None
        raise unusable_image(item, "decoded", failure or type(failure).__name__) from None
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))  # copied here, in parallel threads


def _scale_16_bits(image):
    """Return the image; scale grey images of 16 bits to 8 bits, because Pillow would clip them at 255."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return Image.fromarray(((np.asarray(image, np.int64) + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("grey of 32 bits has no stated range: 8 and 16 bits are allowed")
    return image

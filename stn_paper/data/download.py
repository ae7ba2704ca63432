"""Download a dataset's archives and unpack them into the folder where `files` looks for them.

After an interruption, the next attempt continues: partial downloads stay in the cache. Until the dataset is complete,
the data folder has none of its files, or fewer images than `files` accepts.
"""

import gzip
import hashlib
import math
import os
import shutil
import stat
import tarfile
import zipfile
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tqdm import tqdm

from ..errors import InputError, check_choice
from ..paths import cache_dir, check_writable, data_dir, lock_file, move_file
from .datasets import DATASETS
from .files import LAYOUTS, dataset_folder, find_files, needed_files

TIMEOUT = 30  # seconds without a byte
CHUNK = 2**16  # bytes
LARGEST_DOWNLOAD = 2**30  # bytes of an archive; the largest archive of `LAYOUTS` has a quarter of it
LARGEST_UNPACKED, MOST_MEMBERS = 2**32, 500_000  # bytes and files of an archive
# tarfile has this filter from Python 3.11.4 on
DATA_FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
DAMAGED = gzip.BadGzipFile  # an OSError for a damaged archive; other OSErrors are of the disk


def fetch(name: str, folder: str | os.PathLike | None = None, until: float = math.inf) -> Path:
    """Return the folder of the dataset `name`; if it is not complete, download it into the data folder first.

    `folder` is the folder of the datasets; None is `paths.data_dir()`. If another process downloads the dataset, this
    process waits until the time `until` (of `time.time`, in seconds). Raises InputError for a dataset that cannot be
    downloaded, and for any failure of the download or the unpacking.
    """
    folder, downloads = data_dir(folder), cache_dir() / "downloads"
    if check_choice("dataset", name, DATASETS) not in LAYOUTS:
        raise InputError(f"Dataset {name!r} has no files to download: it comes with the installed packages.")
    if root := _complete_root(name, folder):
        return root
    layout = LAYOUTS[name]
    if not layout.archives:
        place, needed = folder / layout.folders[0], needed_files(name, DATASETS[name])
        raise InputError(
            f"Dataset {name!r} must be downloaded by hand: put {needed} from {layout.address} in {place}."
        )
    for place in (folder, downloads):
        check_writable(place)
    # datasets of the same files share a lock
    first = next(n for n, other in LAYOUTS.items() if other.archives == layout.archives)
    with lock_file(downloads / first, until):
        return _complete_root(name, folder) or _download_dataset(name, folder, downloads)


def ensure_dataset(name: str, folder: str | os.PathLike | None = None, until: float = math.inf) -> None:
    """Download the dataset if it has no folder yet; raise InputError if it is still not complete."""
    if name not in LAYOUTS:
        return
    folder, failed = data_dir(folder), ""
    if LAYOUTS[name].archives and not dataset_folder(name, folder):
        try:
            fetch(name, folder, until)
        except InputError as error:
            failed = f"; {error}"
    try:
        find_files(name, DATASETS[name], folder)
    except InputError as missing:
        raise InputError(f"{str(missing).rstrip('.')}{failed or '.'}") from None


def _complete_root(name, folder):
    try:
        return find_files(name, DATASETS[name], folder).root
    except InputError:
        return None


def _download_dataset(name, folder, downloads):
    archives = LAYOUTS[name].archives
    paths = [downloads / Path(urlsplit(archive.url).path).name for archive in archives]
    for archive, path in zip(archives, paths):
        with _name_failure(f"{archive.url} cannot be downloaded to {path}"):
            _download_archive(archive, path)
    for archive, path in zip(archives, paths):
        into = folder / archive.into
        with _name_failure(f"{path.name} cannot be unpacked into {into}"):
            _unpack(path, into, archive.inner)
    root = find_files(name, DATASETS[name], folder).root
    for path in paths:  # the dataset is complete: its archives are not needed any more
        path.unlink(missing_ok=True)
    return root


@contextmanager
def _name_failure(beginning):
    """Context: turn an error of the network or the disk into one sentence that begins with `beginning`."""
    try:
        yield
    except (OSError, HTTPException) as error:
        reason = f"{beginning}: {_reason(error)}"
        raise InputError(f"{reason}; the next attempt goes on where this one stopped.") from None


def _reason(error):
    """The error in a few words on one line, without a full stop."""
    if isinstance(error, URLError) and not isinstance(error, HTTPError):
        error = error.reason  # the socket's own error
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")


# --- downloads ----------------------------------------------------------------------------------


def _download_archive(archive, path):
    """Download the archive to `path`; only a file with the right checksum gets this name."""
    part = path.with_name(f"{path.name}.part")
    if _md5(path) == archive.md5:
        return
    if _md5(part) != archive.md5:  # equal if a process was killed just before it renamed the file
        _receive(archive.url, part)
    if (digest := _md5(part)) != archive.md5:
        part.unlink()
        wrong = f"{archive.url} has the MD5 checksum {digest} and not {archive.md5}"
        raise InputError(f"{wrong}: the download is deleted, so that the next attempt starts anew.")
    move_file(part, path)


def _md5(path):
    """The file's MD5 checksum in hexadecimal digits; None without a file."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _receive(url, part):
    """Download the rest of `part`, or all of it if the server cannot resume."""
    start = part.stat().st_size if part.exists() else 0
    with _response(url, start) or _response(url, 0) as response:
        start = start if response.status == 206 else 0
        length = response.headers["Content-Length"]
        total = None if length is None else start + int(length)
        _check_download(url, part, total or 0)
        bar = tqdm(
            desc=part.stem, initial=start, total=total, unit="B", unit_scale=True, leave=False, disable=None
        )
        with bar, part.open("ab" if start else "wb") as file:
            while chunk := response.read1(CHUNK):  # returns early, so that all received bytes are kept
                file.write(chunk)
                bar.update(len(chunk))
                _check_download(url, part, file.tell())
            size = file.tell()
    if total is not None and size < total:
        raise ConnectionError(f"the connection ended after {size} of {total} bytes")


def _check_download(url, part, size):
    """Raise InputError and delete the partial file if the download is larger than any archive."""
    if size > LARGEST_DOWNLOAD:
        part.unlink(missing_ok=True)
        raise InputError(f"{url} sends {size} bytes, and {LARGEST_DOWNLOAD} are allowed: it is no archive.")


def _response(url, start):
    """The server's response with the bytes from `start` on; None if the file ends before `start`."""
    headers = {"User-Agent": "stn-paper"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        return urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return None
        raise


# --- unpacking ----------------------------------------------------------------------------------


def _unpack(path, into, inner):
    """Unpack the archive, or the archive `inner` inside of it, and move the files to `into`."""
    temporary = into / f".{path.name}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)  # of a killed process
    try:
        unpacked = _extract(path, temporary / "outer")
        if inner:
            unpacked = _extract(unpacked / inner, temporary / "inner")
        if hasattr(os, "sync"):  # once for all files: to sync each of 50,000 files would take minutes
            os.sync()
        _move(unpacked, into)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move(source, target):
    """Move the content of `source` to `target`; a folder that exists there is merged.

    Other files in `target` stay; a file with the same name is replaced, because it may be damaged.
    """
    for entry in list(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move(entry, place)
        else:
            entry.replace(place)


def _extract(path, into):
    """Unpack one archive into the new folder `into` and return `into`; InputError for a member with a path outside."""
    into.mkdir(parents=True)
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
                for member in members:
                    _check_member(member.filename, stat.S_ISLNK(member.external_attr >> 16))
                _check_size(path, (member.file_size for member in members))
                archive.extractall(into)
        elif ".tar" in path.suffixes:
            with tarfile.open(path) as archive:
                _check_size(path, _tar_sizes(archive))
                archive.extractall(into, **DATA_FILTER)
        else:
            with gzip.open(path) as source, (into / path.stem).open("wb") as target:
                _check_size(path, iter(lambda: target.write(source.read(CHUNK)), 0), math.inf)
    except InputError:
        raise
    except Exception as error:  # Python's readers raise many kinds of errors for damaged archives
        if isinstance(error, OSError) and not isinstance(error, DAMAGED):
            raise  # of the disk
        raise InputError(f"{path.name} cannot be unpacked: {_reason(error)}.") from None
    return into


def _tar_sizes(archive):
    for member in archive:
        _check_member(member.name, not (member.isfile() or member.isdir()))
        yield member.size


def _check_size(path, sizes, most=None):
    """Raise InputError if an archive has too many members, or too many bytes in all; `sizes`: bytes of its members."""
    total = 0
    for number, size in enumerate(sizes, 1):
        total += size
        if number > (most or MOST_MEMBERS) or total > LARGEST_UNPACKED:
            allowed = f"{LARGEST_UNPACKED} bytes in {MOST_MEMBERS} files are allowed"
            raise InputError(f"{path.name} cannot be unpacked: {allowed}, and it holds more.")


def _check_member(name, is_special):
    """Raise InputError for a link, a device, or a name that leads out of the folder, also on Windows."""
    path = PureWindowsPath(name)  # takes either slash, and a letter with a colon for a drive
    if is_special or path.anchor or ".." in path.parts:
        raise InputError(f"Archive member {name!r} could lead out of its folder: nothing of it was unpacked.")

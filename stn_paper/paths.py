"""Where everything lies, and the one way to write there; no other module knows a folder's place.

Each folder can be moved by an environment variable, so that an installed package writes where its user
wants and a test writes nowhere else.
"""

import errno
import glob
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from .errors import InputError

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent  # the repository
IN_CLONE = (
    ROOT / "pyproject.toml"
).is_file()  # else the package is installed, and the user's folders are taken
PRINTED = PACKAGE / "analysis/printed"  # the paper's tables as CSV
BENCHMARKS = ROOT / "benchmarks"  # measured times as JSON, beside the programs that take them
PLAIN = "plain"  # what its files call the loop of the paper's authors
UNFINISHED = "unfinished"  # marks a part that was interrupted; no page shows it


def data_dir(given=None):
    """The datasets' folder: `given`, else $STN_PAPER_DATA, else data/ in the repository or the user's folder.

    Raises InputError for a folder that is named and does not exist: it is probably mistyped.
    """
    if given is not None and not isinstance(given, str | os.PathLike):
        raise InputError(f"Data folder {given!r} is not allowed: give a path in quotation marks.")
    named = given or os.environ.get("STN_PAPER_DATA")
    folder = _folder(named or _home() / "data", "Data folder")
    if named and not os.path.isdir(folder):
        state = "is not a folder" if os.path.exists(folder) else "does not exist"
        raise InputError(f"Data folder {folder} {state}: give the folder of the datasets, or make it first.")
    return folder


def results_dir():
    """The run records' folder: $STN_PAPER_RESULTS, else results/ in the repository or the user's folder."""
    return _folder(os.environ.get("STN_PAPER_RESULTS") or _home() / "results", "STN_PAPER_RESULTS")


def cache_dir():
    """Decoded images and checkpoints: $STN_PAPER_CACHE, else cache/ in the repository. Safe to delete.

    An installed package takes the user's folder of caches.
    """
    return _folder(os.environ.get("STN_PAPER_CACHE") or _home("cache") / "cache", "STN_PAPER_CACHE")


def _home(kind="data"):
    """The repository, or for an installed package the user's folder of this kind, "data" or "cache"."""
    if IN_CLONE:
        return ROOT
    import platformdirs  # here, as a clone needs none

    return getattr(platformdirs, f"user_{kind}_path")("stn-paper", appauthor=False)


def _folder(path, kind):
    """The path with "~" and "~user" expanded."""
    path = os.fsdecode(path)
    if "\0" in path:
        raise InputError(f"{kind} {path!r} is not allowed: a path holds no zero byte.")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{kind} {path} is not allowed: this machine knows no such user.") from None


@contextmanager
def replacing(path):
    """Give a partial file to write to; it takes `path`'s place at once when the block ends well.

    No reader ever sees half a file; a killed process or a loss of power leaves the old one or the new one.
    Raises InputError where the folder cannot be written, the disk is full or a file that the block reads
    cannot be read, which is then named; `path` stays as it was.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _flush(partial)
        partial.replace(path)
        if os.name == "posix":  # the new name is stored in the folder
            _flush(path.parent, os.O_RDONLY)
    except OSError as error:
        reason = f"{error.strerror or error}; what was there before is intact"
        if _is_of_another_file(error, path):
            reason = f"{error.filename} cannot be read: {reason}"
        raise InputError(f"{path} cannot be written: {reason}.") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _flush(path, flags=os.O_RDWR):
    """Wait until the disk holds what was written to the file or folder."""
    file = os.open(path, flags)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot
            raise
    finally:
        os.close(file)


def _is_of_another_file(error, path):
    """Whether an error that ended `replacing(path)` names a file that is neither the new one nor above it."""
    if error.filename is None or isinstance(error.filename, int):
        return False
    named = Path(os.fsdecode(error.filename))
    return named != path and named not in path.parents and not named.name.startswith(f"{path.name}.")


@contextmanager
def locked(path):
    """Let one process at a time make `path`: the others wait, and what a killed one left is removed."""
    check_writable(path.parent)
    with FileLock(path.with_name(f"{path.name}.lock")):  # freed however its process ends
        for left in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
            left.unlink(missing_ok=True)
        yield


def check_writable(folder):
    """Raise InputError now, rather than after hours of training, if nothing can be written to `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"Folder {folder} cannot be written: {error.strerror or error}.") from None

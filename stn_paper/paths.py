"""Where everything lies, and the one way to write there; no other module knows a folder's place.

Each folder can be moved by an environment variable, so that an installed package writes where its user
wants and a test writes nowhere else.
"""

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from .errors import InputError

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent  # the repository
PRINTED = PACKAGE / "analysis/printed"  # the paper's tables as CSV
BENCHMARKS = ROOT / "benchmarks"  # measured times as JSON, beside the programs that take them
PLAIN = "plain"  # what its files call the loop of the paper's authors
UNFINISHED = "unfinished"  # marks a part that was interrupted; no page shows it


def data_dir(given=None):
    """The datasets' folder: `given`, else $STN_PAPER_DATA, else data/ in the repository."""
    return Path(given or os.environ.get("STN_PAPER_DATA") or ROOT / "data").expanduser()


def results_dir():
    """The run records' folder: $STN_PAPER_RESULTS, else results/ in the repository."""
    return Path(os.environ.get("STN_PAPER_RESULTS") or ROOT / "results")


def cache_dir():
    """Decoded images and checkpoints: $STN_PAPER_CACHE, else cache/ in the repository. Safe to delete."""
    return Path(os.environ.get("STN_PAPER_CACHE") or ROOT / "cache")


@contextmanager
def replacing(path):
    """Give a partial file to write to; it takes `path`'s place at once when the block ends well.

    No reader ever sees half a file, and a killed process leaves the old one. Raises InputError where the
    folder cannot be written or the disk is full; `path` then stays as it was.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be written: {reason}; what was there before is intact.") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def locked(path):
    """Let one process at a time make `path`: the others wait, and what a killed one left is removed."""
    check_writable(path.parent)
    with FileLock(path.with_name(f"{path.name}.lock")):  # freed however its process ends
        for left in path.parent.glob(f"{path.name}.*.part"):
            left.unlink()
        yield


def check_writable(folder):
    """Raise InputError now, rather than after hours of training, if nothing can be written to `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"Folder {folder} cannot be written: {error.strerror or error}.") from None

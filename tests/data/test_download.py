"""Downloads from a local server are unpacked to the right folders, resume, and refuse wrong archives."""

import gzip
import io
import itertools
import multiprocessing
import os
import pickle
import random
import re
import signal
import stat
import tarfile
import threading
import zipfile
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock
from helpers import refusal
from torchvision.datasets import CIFAR10

from stn_paper.data import download
from stn_paper.data.datasets import DATASETS
from stn_paper.data.download import fetch
from stn_paper.data.files import LAYOUTS, Archive, find_files
from stn_paper.errors import InputError
from stn_paper.paths import cache_dir

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12, as the server runs
FORK = multiprocessing.get_context("fork")

# --- a server, and tiny archives ---


class Handler(BaseHTTPRequestHandler):
    """Serves `site.files`; logs the requested file and range and the bytes sent in `site.log`."""

    def do_GET(self):
        site, file = self.server.site, self.path.lstrip("/")
        site.requested.set()
        site.gate.wait()
        byte_range = self.headers["Range"]
        start = int(re.fullmatch(r"bytes=(\d+)-", byte_range)[1]) if byte_range and site.ranges else 0
        body = site.files.get(file, b"")
        status = (
            404 if not body else 416 if start >= len(body) else 206 if byte_range and site.ranges else 200
        )
        body = body[start:] if status < 400 else b""
        sent = body[: site.cut.pop(file, None)]
        site.log.append((file, byte_range, status, len(sent)))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_):
        pass


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = SimpleNamespace(
        url=f"http://127.0.0.1:{server.server_port}/",
        files={},
        log=[],
        ranges=True,
        cut={},  # file -> bytes after which the connection ends, once
        gate=threading.Event(),  # no answer before it is set
        requested=threading.Event(),
    )
    server.site = site
    site.gate.set()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))

    def close():
        site.gate.set()
        server.shutdown()
        server.server_close()

    site.close = close
    thread.start()
    yield site
    site.close()
    thread.join()


def noise(name, size=300):
    return random.Random(name).randbytes(size)


def zipped(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return file.getvalue()


def tarred(members):
    """A tar.gz of members {name or TarInfo: bytes}."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for member, data in members.items():
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def noises(*names):
    return {name: noise(name) for name in names}


def caltech101():
    places = ("BACKGROUND_Google/1.jpg", "ant/1.jpg", "ant/2.jpg", "bee/1.jpg", "bee/2.jpg")
    images = tarred(noises(*(f"101_ObjectCategories/{place}" for place in places)))
    inner = "caltech-101/101_ObjectCategories.tar.gz"
    return {"caltech-101.zip": zipped({inner: images, "caltech-101/Annotations.tar": b"not wanted"})}


def cifar10():
    def batch(count):
        return pickle.dumps({"data": np.zeros((count, 3072), np.uint8), "labels": [0] * count})

    meta = pickle.dumps({"label_names": [f"class {c}" for c in range(10)]})
    files = {"data_batch_1": batch(3), "test_batch": batch(2), "batches.meta": meta}
    return {"cifar-10-python.tar.gz": tarred({f"cifar-10-batches-py/{f}": d for f, d in files.items()})}


def gtsrb():
    training = [f"GTSRB/Final_Training/Images/{c:05d}/{i:05d}_00000.ppm" for c in range(2) for i in range(3)]
    test = [f"GTSRB/Final_Test/Images/{i:05d}.ppm" for i in range(2)]
    table = "Filename;Width;ClassId\n00000.ppm;53;1\n00001.ppm;42;0\n"
    return {
        "GTSRB_Final_Training_Images.zip": zipped(noises(*training, "GTSRB/Readme-Images.txt")),
        "GTSRB_Final_Test_Images.zip": zipped(noises(*test, "GTSRB/Readme-Images-Final-test.txt")),
        "GTSRB_Final_Test_GT.zip": zipped({"GT-final_test.csv": table}),
    }


def mnist():
    def idx(magic, *shape):
        return gzip.compress(np.array([magic, *shape], ">i4").tobytes() + bytes(int(np.prod(shape))))

    return {
        f"{part}-{file}-ubyte.gz": idx(magic, count, *shape)
        for part, count in (("train", 3), ("t10k", 2))
        for file, magic, shape in (("images-idx3", 0x803, (28, 28)), ("labels-idx1", 0x801, ()))
    }


TINY = {  # dataset -> its archives, number of classes, images before the test split and in it
    "caltech101": (caltech101, 2, 3, 1),
    "cifar10": (cifar10, 10, 3, 2),
    "gtsrb": (gtsrb, 2, 6, 2),
    "mnist": (mnist, 10, 3, 2),
}


def tiny_row(monkeypatch, name, classes, train, test):
    row = SimpleNamespace(num_classes=classes, splits={"train": train, "test": test})
    monkeypatch.setitem(DATASETS, name, row)


@pytest.fixture
def publish(site, monkeypatch):
    """Put a dataset's tiny archives on the server, and their addresses and checksums into `LAYOUTS`."""

    def publish(name):
        make, *numbers = TINY[name]
        files = make()
        site.files.update(files)
        archives = [(archive, Path(archive.url).name) for archive in LAYOUTS[name].archives]
        moved = [a._replace(url=site.url + f, md5=md5(files[f]).hexdigest()) for a, f in archives]
        monkeypatch.setitem(LAYOUTS, name, LAYOUTS[name]._replace(archives=tuple(moved)))
        tiny_row(monkeypatch, name, *numbers)
        if name == "cifar10":  # torchvision knows the checksums of the real batches
            with tarfile.open(fileobj=io.BytesIO(files["cifar-10-python.tar.gz"])) as tar:
                sums = {Path(m.name).name: md5(tar.extractfile(m).read()).hexdigest() for m in tar}
            monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", sums["data_batch_1"]]])
            monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
            monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": sums["batches.meta"]})

    return publish


@pytest.fixture
def publish_one(site, monkeypatch):
    """Make one file the only archive of Caltech-101."""

    def publish_one(file, data, inner=""):
        site.files[file] = data
        archive = Archive(site.url + file, md5(data).hexdigest(), "caltech101", inner)
        monkeypatch.setitem(LAYOUTS, "caltech101", LAYOUTS["caltech101"]._replace(archives=(archive,)))

    return publish_one


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def refused(name, folder):
    """The message of the InputError that `fetch` raises: a single sentence."""
    sentence = refusal(fetch, name, folder)
    assert ". " not in sentence
    return sentence


def files_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def downloads():
    return files_in(cache_dir() / "downloads")


# --- where files land ---


@pytest.mark.parametrize("name", TINY)
def test_a_dataset_lands_where_layouts_look(name, publish, site, folder, capfd):
    publish(name)
    root = fetch(name, folder)
    assert root == folder / LAYOUTS[name].folders[0]
    listing = find_files(name, DATASETS[name], folder)
    assert len(listing.items) == sum(DATASETS[name].splits.values())
    if isinstance(listing.items[0], Path):
        assert all(p.read_bytes() == noise(str(p.relative_to(root.parent))) for p in listing.items)
    assert not list(folder.rglob(".*"))  # nor a temporary folder
    assert downloads() <= {f"{name}.lock"}
    assert capfd.readouterr() == ("", "")  # progress is for terminals
    assert fetch(name, folder) == root and len(site.log) == len(LAYOUTS[name].archives)


def test_a_distorted_dataset_is_fetched_as_the_one_it_is_made_of(publish, site, folder, monkeypatch):
    publish("mnist")
    monkeypatch.setitem(LAYOUTS, "mnist-rts", LAYOUTS["mnist"])
    tiny_row(monkeypatch, "mnist-rts", *TINY["mnist"][1:])
    download.ensure_dataset("mnist-rts", folder)
    assert downloads() <= {"mnist.lock"}  # so that two processes do not download the same files
    assert fetch("mnist", folder) == folder / "MNIST/raw" and len(site.log) == 4


def test_a_dataset_in_another_of_its_folders_is_not_downloaded(publish, site, folder):
    publish("caltech101")
    fetch("caltech101", folder)
    (folder / "caltech101/101_ObjectCategories").rename(folder / "101_ObjectCategories")
    assert fetch("caltech101", folder) == folder / "101_ObjectCategories" and len(site.log) == 1


def test_files_that_no_archive_has_stay_and_damaged_ones_are_replaced(publish, folder):
    publish("gtsrb")
    images = folder / "gtsrb/GTSRB/Final_Training/Images/00001"
    images.mkdir(parents=True)
    (images / "notes.txt").write_text("mine")
    (images / "00000_00000.ppm").write_text("half an im")
    fetch("gtsrb", folder)
    assert (images / "notes.txt").read_text() == "mine"
    name = "GTSRB/Final_Training/Images/00001/00000_00000.ppm"
    assert (folder / "gtsrb" / name).read_bytes() == noise(name)


def test_a_folder_with_more_than_the_dataset_is_refused_and_its_archive_kept(publish, site, folder):
    publish("caltech101")
    own = folder / "caltech101/101_ObjectCategories/own"
    own.mkdir(parents=True)
    assert "3 class folders" in refused("caltech101", folder)
    own.rmdir()
    fetch("caltech101", folder)
    assert len(site.log) == 1


def test_a_dataset_without_archives_names_its_address(monkeypatch, folder):
    assert "'digits'" in refused("digits", folder)
    tiny_row(monkeypatch, "tsrd", 58, 4170, 1994)
    sentence = refused("tsrd", folder)
    assert LAYOUTS["tsrd"].address in sentence and str(folder / "tsrd") in sentence
    assert "TsignRecgTest1994Annotation.txt" in sentence
    assert "'imagenet'" in refused("imagenet", folder)
    assert not files_in(folder)


def test_a_mistyped_data_folder_gets_no_download(publish, site, folder):
    publish("caltech101")
    for call in (fetch, download.ensure_dataset):
        assert str(folder / "dtaa") in refusal(call, "caltech101", folder / "dtaa")
    assert not site.log and not files_in(folder)


# --- downloads ---


def broken_off(publish, site, folder, file="caltech-101.zip", after=400):
    """Break a download off in its middle, and return the message of the error."""
    publish("caltech101")
    site.cut[file] = after
    sentence = refused("caltech101", folder)
    assert (cache_dir() / "downloads" / f"{file}.part").stat().st_size == after
    return sentence


def test_a_broken_download_goes_on_where_it_stopped(publish, site, folder):
    sentence = broken_off(publish, site, folder)
    size = len(site.files["caltech-101.zip"])
    assert site.url in sentence and f"400 of {size}" in sentence
    assert not files_in(folder)
    fetch("caltech101", folder)
    first, second = site.log
    assert first == ("caltech-101.zip", None, 200, 400)
    assert second == ("caltech-101.zip", "bytes=400-", 206, size - 400)


def test_a_download_larger_than_a_chunk_goes_on_twice(publish, site, folder, monkeypatch):
    monkeypatch.setattr(download, "CHUNK", 64)
    broken_off(publish, site, folder, after=333)
    site.cut["caltech-101.zip"] = 222
    refused("caltech101", folder)
    fetch("caltech101", folder)
    assert [byte_range for _, byte_range, *_ in site.log] == [None, "bytes=333-", "bytes=555-"]
    assert sum(sent for *_, sent in site.log) == len(site.files["caltech-101.zip"])


def test_complete_archives_are_not_downloaded_again(publish, site, folder):
    publish("gtsrb")
    site.cut["GTSRB_Final_Test_GT.zip"] = 10
    refused("gtsrb", folder)
    fetch("gtsrb", folder)
    assert [file[12:] for file, *_ in site.log] == [
        "Training_Images.zip",
        "Test_Images.zip",
        *["Test_GT.zip"] * 2,
    ]


def test_a_server_without_ranges_sends_all_anew(publish, site, folder):
    site.ranges = False
    broken_off(publish, site, folder)
    fetch("caltech101", folder)
    assert site.log[1] == ("caltech-101.zip", "bytes=400-", 200, len(site.files["caltech-101.zip"]))


@pytest.mark.parametrize("more, requests", [(b"", 0), (b"more", 2)])
def test_a_partial_download_is_used_if_whole_and_discarded_if_too_long(more, requests, publish, site, folder):
    publish("caltech101")
    part = cache_dir() / "downloads/caltech-101.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(site.files["caltech-101.zip"] + more)
    fetch("caltech101", folder)
    assert [status for *_, status, _ in site.log] == [416, 200][:requests]


def test_a_wrong_checksum_deletes_the_download(publish, site, folder):
    publish("caltech101")
    right = site.files["caltech-101.zip"]
    site.files["caltech-101.zip"] = wrong = right[:-1] + b"?"
    sentence = refused("caltech101", folder)
    assert all(text in sentence for text in (site.url, md5(wrong).hexdigest(), md5(right).hexdigest()))
    assert downloads() <= {"caltech101.lock"} and not files_in(folder)
    site.files["caltech-101.zip"] = right
    fetch("caltech101", folder)
    assert site.log[-1][1:3] == (None, 200)


def test_a_damaged_archive_in_the_downloads_is_replaced(publish, site, folder):
    publish("caltech101")
    path = cache_dir() / "downloads/caltech-101.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK")
    fetch("caltech101", folder)
    assert len(site.log) == 1


def test_a_missing_file_on_the_server_is_named(publish, site, folder):
    publish("caltech101")
    site.files.clear()
    sentence = refused("caltech101", folder)
    assert "404" in sentence and f"{site.url}caltech-101.zip" in sentence


def test_a_partial_download_is_kept_if_the_server_is_gone(publish, site, folder):
    broken_off(publish, site, folder)
    site.close()
    sentence = refused("caltech101", folder)
    assert "Connection refused" in sentence and site.url in sentence
    assert "caltech-101.zip.part" in downloads()


def test_a_server_that_does_not_answer_is_given_up(publish, site, folder, monkeypatch):
    publish("caltech101")
    site.gate.clear()
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    assert "timed out" in refused("caltech101", folder)


def test_a_full_disk_keeps_the_partial_download(publish, site, folder, monkeypatch):
    resource = pytest.importorskip("resource")
    publish("caltech101")
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, hard))  # no file may grow longer
    try:
        sentence = refused("caltech101", folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in sentence and str(cache_dir()) in sentence
    fetch("caltech101", folder)
    assert site.log[-1][1:3] == ("bytes=700-", 206)


def test_a_file_in_the_folders_place_is_named_before_any_download(publish, site, folder):
    publish("caltech101")
    folder = folder / "caltech101"
    folder.write_text("a file")
    assert str(folder) in refused("caltech101", folder)
    assert not site.log


# --- several processes, and killed ones ---


def test_two_processes_download_once(publish, site, folder, monkeypatch):
    publish("gtsrb")
    site.gate.clear()
    waiting, lock = FORK.Event(), FileLock
    first = FORK.Process(target=fetch, args=("gtsrb", folder), daemon=True)
    first.start()
    assert site.requested.wait(60)
    monkeypatch.setattr("stn_paper.paths.FileLock", lambda path: waiting.set() or lock(path))
    second = FORK.Process(target=fetch, args=("gtsrb", folder), daemon=True)
    second.start()
    assert waiting.wait(60)
    site.gate.set()
    for process in (first, second):
        process.join()
        assert process.exitcode == 0
    assert len(site.log) == 3
    assert find_files("gtsrb", DATASETS["gtsrb"], folder)


def killed(name, folder, owner, function, calls):
    """Fetch the dataset in a process that is killed at a call of the function; return whether it reached this call."""

    def fetch_until():
        original = getattr(owner, function)
        call_numbers = iter(range(calls))

        def counted(*args, **kwargs):
            if next(call_numbers) == calls - 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        setattr(owner, function, counted)
        fetch(name, folder)

    process = FORK.Process(target=fetch_until)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.mark.parametrize(
    "owner, function, calls, mine",
    [
        (zipfile.ZipFile, "_extract_member", 11, ()),  # each file
        (Path, "replace", 3 + 4, ()),  # downloads, then files and folders
        (Path, "replace", 3 + 9, ("Final_Training/Images/00001/mine.txt", "Final_Test/Images/mine.txt")),
    ],
)
def test_a_process_killed_anywhere_leaves_no_dataset(
    owner, function, calls, mine, publish, tmp_path, monkeypatch
):
    publish("gtsrb")
    for call in itertools.count(1):
        folder = tmp_path / f"data{call}"
        folder.mkdir()
        monkeypatch.setenv("STN_PAPER_CACHE", str(tmp_path / f"cache{call}"))
        for file in mine:
            path = folder / "gtsrb/GTSRB" / file
            path.parent.mkdir(parents=True)
            path.write_text("mine")
        if not killed("gtsrb", folder, owner, function, call):
            break
        with pytest.raises(InputError):
            find_files("gtsrb", DATASETS["gtsrb"], folder)
        fetch("gtsrb", folder)
        assert len(files_in(folder)) == 6 + 2 + 3 + len(mine)  # no temporary folder is left
    assert call == calls + 1


# --- archives that are hostile or damaged ---


def tar_member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(name):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


LEADING_OUT = (
    "../out.txt",
    "a/../../../out.txt",
    "{tmp}/out.txt",
    "..\\out.txt",
    "C:out.txt",
    "\\\\host\\share\\out",
)


def refused_as_hostile(member, folder, tmp_path):
    sentence = refused("caltech101", folder)
    outside = {f for f in files_in(tmp_path) if not f.startswith("cache/")}
    assert repr(member) in sentence and not outside and not list(folder.rglob(".*"))


@pytest.mark.parametrize("member", LEADING_OUT)
@pytest.mark.parametrize("file, make", [("a.zip", zipped), ("a.tar.gz", tarred), ("a.tar", tarred)])
def test_members_that_lead_out_are_refused(file, make, member, publish_one, folder, tmp_path):
    member = member.format(tmp=tmp_path)
    publish_one(file, make({"101_ObjectCategories/ant/1.jpg": b"good", member: b"out"}))
    refused_as_hostile(member, folder, tmp_path)


def test_a_link_in_a_zip_is_refused(publish_one, folder, tmp_path):
    publish_one(
        "a.zip", zipped({"good.jpg": b"good", zip_link("link"): str(tmp_path), "link/out.txt": b"out"})
    )
    refused_as_hostile("link", folder, tmp_path)


@pytest.mark.parametrize("target", ["{tmp}", "../..", "good.jpg"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_in_a_tar_is_refused(kind, target, publish_one, folder, tmp_path):
    link = tar_member("link", kind, target.format(tmp=tmp_path))
    publish_one("a.tar.gz", tarred({"good.jpg": b"good", link: b"", "link/out.txt": b"out"}))
    refused_as_hostile("link", folder, tmp_path)


def test_a_device_in_a_tar_is_refused(publish_one, folder, tmp_path):
    publish_one("a.tar.gz", tarred({tar_member("pipe", tarfile.FIFOTYPE): b""}))
    refused_as_hostile("pipe", folder, tmp_path)


def test_a_hostile_archive_within_the_archive_is_refused(publish_one, folder, tmp_path):
    inner = "caltech-101/101_ObjectCategories.tar.gz"
    publish_one("a.zip", zipped({inner: tarred({"../out.txt": b"out"})}), inner)
    refused_as_hostile("../out.txt", folder, tmp_path)


@pytest.mark.parametrize("file", ["a.zip", "a.tar.gz", "a.gz"])
@pytest.mark.parametrize("data", [b"no archive", gzip.compress(noise("half"))[:200]])
def test_a_damaged_archive_is_one_sentence(file, data, publish_one, folder):
    publish_one(file, data)
    assert file in refused("caltech101", folder)
    assert not files_in(folder)


@pytest.mark.parametrize("file, make", [("a.zip", zipped), ("a.tar.gz", tarred), ("a.tar", tarred)])
@pytest.mark.parametrize("limit, value", [("LARGEST_UNPACKED", 599), ("MOST_MEMBERS", 1)])
def test_an_archive_of_more_than_any_dataset_is_not_unpacked(
    file, make, limit, value, publish_one, folder, monkeypatch
):
    monkeypatch.setattr(download, limit, value)
    publish_one(file, make(noises("ant/1.jpg", "ant/2.jpg")))
    assert file in refused("caltech101", folder)
    assert not files_in(folder)


def test_a_bomb_stops_while_it_is_unpacked(publish_one, folder, monkeypatch):
    monkeypatch.setattr(download, "LARGEST_UNPACKED", 2**20)
    publish_one("a.gz", gzip.compress(bytes(2**26)))
    assert "1048576 bytes" in refused("caltech101", folder)
    assert not files_in(folder)


@pytest.mark.parametrize("says_its_length", [True, False])
def test_a_download_without_end_stops(publish, site, folder, monkeypatch, says_its_length):
    monkeypatch.setattr(download, "LARGEST_DOWNLOAD", 500)
    monkeypatch.setattr(download, "CHUNK", 64)
    if not says_its_length:
        monkeypatch.setattr(Handler, "send_header", lambda *_: None)
    publish("caltech101")
    assert "500 are allowed" in refused("caltech101", folder)
    assert downloads() <= {"caltech101.lock"} and not files_in(folder)

"""The wheel works outside of the repository, with the packages of this environment and the user's folders."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from stn_paper.paths import PRINTED, ROOT

EXTRAS = {"captum", "filelock", "mlxtend", "pandas", "PIL", "platformdirs", "scipy", "thop", "tqdm"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built by the locked setuptools from a copy of the repository's files."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "stn_paper", source / "stn_paper", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", source / "dist", source], check=True)
    (built,) = (source / "dist").glob("stn_paper-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A new environment with the wheel; all other packages are those of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin/python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    subprocess.run([*install, "--ignore-installed", wheel], check=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": folder, "platbase": folder}))
    (packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")  # its own .pth are not read
    return folder


@pytest.fixture
def away(environment, tmp_path):
    """Return a function that runs a program of the environment outside of the repository; the home is `tmp_path`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STN_PAPER_", "PYTHON", "XDG_"))}

    def call(program, *arguments, fails=False):
        done = subprocess.run(
            [environment / "bin" / program, *arguments],
            cwd=tmp_path,
            env=kept | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert bool(done.returncode) == fails, done.stderr
        return done.stderr if fails else done.stdout

    return call


def test_the_package_comes_from_the_wheel_with_its_tables_and_types(away, environment):
    code = "from stn_paper.paths import PACKAGE, IN_CLONE; print(PACKAGE, IN_CLONE)"
    folder, in_clone = away("python", "-c", code).split()
    assert Path(folder).is_relative_to(environment) and in_clone == "False"
    for name in (
        "py.typed",
        "report/explorer.js",
        *(f"analysis/printed/{p.name}" for p in PRINTED.iterdir()),
    ):
        assert (Path(folder) / name).is_file(), name


def test_a_run_lands_in_the_users_folder_and_is_found_again(away, tmp_path):
    run = ["run", "digits", "mnist-cnn", "lstn", "smoke", "--device", "cpu"]
    first, again = away(
        "python", "-c", f"from stn_paper.cli import main; main({run}); main({run})"
    ).splitlines()
    (record,) = tmp_path.rglob("results/smoke/*.json")
    assert first.startswith(str(record)) and again == first


def test_costs_measured_there_are_those_in_the_repository(away, tmp_path):
    written = Path(away("stn-paper", "costs").strip())
    assert written.is_relative_to(tmp_path)
    assert written.read_text() == (ROOT / "results/costs.csv").read_text(), "run: python -m stn_paper costs"


@pytest.mark.parametrize("command", [("results", "check"), ("readme",)])
def test_a_command_that_needs_a_clone_gives_one_sentence(away, command):
    (sentence,) = away("stn-paper", *command, fails=True).splitlines()
    assert "repository" in sentence


MISSING = EXTRAS - {"PIL", "filelock", "tqdm"}  # which torch, torchvision and timm bring
BARE = f"""
import importlib.machinery, sys
finder = importlib.machinery.PathFinder
find = finder.find_spec
finder.find_spec = lambda name, *more: None if name.partition(".")[0] in {MISSING} else find(name, *more)
"""


def test_networks_need_the_core_only_and_a_missing_extra_is_named(away):
    code = """
import timm, torch, stn_paper
from stn_paper import SpatialTransformer, build_model, with_stn
print(build_model("effb0", "lstn", 10, 64).eval()(torch.zeros(2, 3, 64, 64)).shape)
print(with_stn(timm.create_model("resnet10t", num_classes=10), "lstn", 64)(torch.zeros(2, 3, 64, 64)).shape)
print(sorted({"matplotlib", "pandas"} & set(sys.modules)))
for use in (
    lambda: stn_paper.run(stn_paper.RunSpec("digits", "resnet18", "lstn", "smoke")),
    lambda: stn_paper.costs.measure(stn_paper.build_model("effb0", "stn", 2), 64),
):
    try:
        use()
    except ModuleNotFoundError as error:
        print(str(error).replace("\\n", " "))
"""
    *networks, first, second = away("python", "-c", BARE + code).splitlines()
    assert networks == ["torch.Size([2, 10])"] * 2 + ["[]"]
    assert "stn-paper[train]" in first and "stn-paper[train]" in second

"""The notebooks: cells and outputs follow the rules, and papermill's parameters do what the README says."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from stn_paper.paths import ROOT

NOTEBOOKS = sorted(p for p in (ROOT / "notebooks").glob("*.ipynb") if not p.stem.startswith("out"))
TABLE6 = ROOT / "notebooks/table6.ipynb"


@cache
def read(path):
    return nbformat.read(path, as_version=4)


def outputs(path):
    for cell in read(path).cells:
        yield from cell.get("outputs", [])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_fit_to_be_read(path):
    notebook = read(path)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].source.startswith("# ")
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert all("execution" not in c.metadata and "papermill" not in c.metadata for c in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_outputs_are_clean(path):
    for output in outputs(path):
        assert output.output_type in ("display_data", "execute_result")  # no stream, no error
        text = json.dumps({k: v for k, v in output.data.items() if not k.startswith("image/")})
        assert not re.search(r"/(home|root|tmp|work|Users)/|0x[0-9a-f]{6,}|Warning", text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_picture_has_an_alternative_text_and_a_caption(path):
    for cell in read(path).cells:
        if any(kind.startswith("image/") for out in cell.get("outputs", []) for kind in out.get("data", {})):
            options = cell.metadata["mystnb"]
            assert len(options["image"]["alt"]) > 20, cell.source
            assert len(options["figure"]["caption"]) > 20, cell.source


def execute(tmp_path, **parameters):
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(TABLE6, out, parameters, progress_bar=False)
    return "\n".join(json.dumps(o.get("data", {})) for o in outputs(out))


def test_naming_a_backbone_trains_it_and_says_that_it_is_a_smoke_run(tmp_path, monkeypatch, costs):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "smoke" in execute(tmp_path, backbone="resnet18", variant="lstn")
    assert [p.name.split("_")[:4] for p in (tmp_path / "results/smoke").iterdir()] == [
        ["digits", "smoke", "resnet18", "lstn"]
    ]


def test_a_wrong_parameter_ends_in_one_sentence(tmp_path, costs):
    with pytest.raises(PapermillExecutionError) as error:
        execute(tmp_path, backbone="effb9")
    assert "'effb9'" in error.value.evalue
    assert error.value.traceback == [f"InputError: {error.value.evalue}"]


def test_pytest_takes_neither_a_users_output_nor_anything_built(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for place in ("notebooks/table6.ipynb", "notebooks/out.ipynb", "out.ipynb", "tests/_build/t.ipynb"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TABLE6, tmp_path / place)
    (tmp_path / "book/_build/jupyter_execute").mkdir(parents=True)
    shutil.copy(TABLE6, tmp_path / "book/_build/jupyter_execute/table6.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "--collect-only", "-q"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    files = {line.split("::")[0] for line in found.stdout.splitlines() if "::" in line}
    assert files == {"notebooks/table6.ipynb"}

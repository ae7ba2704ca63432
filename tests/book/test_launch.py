"""Colab and Binder: the addresses of the buttons, and the first cell of a copy, which installs the companion."""

import os
from types import SimpleNamespace

import nbformat
import pytest
from helpers import git
from nbclient import NotebookClient

from stn_paper.paths import ROOT


@pytest.fixture(scope="module")
def launch(extension):
    return extension("launch")


def clone_of(folder, url):
    """A repository with one commit whose origin is `url`."""
    git(folder, "init")
    git(folder, "commit", "--allow-empty", "--message", "first")
    git(folder, "remote", "add", "origin", url)
    return git(folder, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/owner/the.name",
        "https://github.com/owner/the.name.git",
        "https://user:secret@github.com/owner/the.name/",
        "git@github.com:owner/the.name.git",
    ],
)
def test_origin_is_named_without_what_is_secret(launch, tmp_path, url):
    commit = clone_of(tmp_path, url)
    assert launch.origin(tmp_path) == ("owner/the.name", commit)


@pytest.mark.parametrize("url", ["/srv/github.com/owner/name", "https://notgithub.com/owner/name", "../name"])
def test_no_buttons_where_origin_is_elsewhere(launch, tmp_path, url):
    clone_of(tmp_path, url)
    assert launch.origin(tmp_path) is None


def test_no_buttons_outside_of_git(launch, tmp_path, monkeypatch):
    clone_of(tmp_path, "https://github.com/owner/another")
    (tmp_path / "unpacked").mkdir()  # an archive of this repository inside another project's clone
    assert launch.origin(tmp_path / "unpacked") is None
    monkeypatch.setenv("PATH", "")  # a machine without git
    assert launch.origin(tmp_path) is None


def test_the_repository_and_its_issues_are_offered_where_there_is_one(launch, monkeypatch):
    for found, expected in ((None, {}), (("owner/name", "0123abc"), "https://github.com/owner/name")):
        monkeypatch.setattr(launch, "origin", lambda folder, found=found: found)
        config = SimpleNamespace(html_theme_options={})
        launch.add_repository(None, config)
        assert config.html_theme_options.get("repository_url", {}) == expected


def test_buttons_open_the_page_s_own_notebook_at_the_commit(launch, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "origin", lambda folder: ("owner/name", "0123abc"))
    context = {"header_buttons": []}
    app = SimpleNamespace(builder=SimpleNamespace(name="html"), outdir=tmp_path)
    launch.add_buttons(app, "notebooks/table9", "page.html", context, None)
    colab, binder = (button["url"] for button in context["header_buttons"][0]["buttons"])
    assert colab.endswith("/github/owner/name/blob/gh-pages/launch/table9.ipynb")
    assert binder.endswith("/gh/owner/name/0123abc?urlpath=lab/tree/notebooks/table9.ipynb")
    copy, committed = (
        nbformat.read(folder / "table9.ipynb", as_version=4)
        for folder in (tmp_path / "launch", ROOT / "notebooks")
    )
    nbformat.validate(copy)
    assert "0123abc" in copy.cells[0].source and copy.cells[1:] == committed.cells


@pytest.mark.parametrize(
    "page, source",
    [("notebooks/table9", "notebooks/table9.ipynb"), ("run", "book/run.md"), ("runs/some_record", None)],
)
def test_the_edit_button_opens_the_page_s_own_source(launch, monkeypatch, page, source):
    assert source is None or (ROOT / source).is_file()
    for found in (None, ("owner/name", "0123abc")):
        monkeypatch.setattr(launch, "origin", lambda folder, found=found: found)
        context = {"header_buttons": [{"label": "source-buttons", "buttons": []}]}
        launch.add_edit(None, page, "page.html", context, None)
        urls = [button["url"] for button in context["header_buttons"][0]["buttons"]]
        expected = f"https://github.com/owner/name/edit/main/{source}"
        assert urls == ([expected] if source and found else [])


@pytest.mark.parametrize("page", ["run", "runs/some_record", "genindex"])
def test_pages_without_a_notebook_have_no_buttons(launch, tmp_path, monkeypatch, page):
    monkeypatch.setattr(launch, "origin", lambda folder: ("owner/name", "0123abc"))
    context = {"header_buttons": []}
    app = SimpleNamespace(builder=SimpleNamespace(name="html"), outdir=tmp_path)
    launch.add_buttons(app, page, "page.html", context, None)
    assert context["header_buttons"] == [] and not list(tmp_path.iterdir())


def test_the_first_cell_gets_the_companion_at_that_commit(launch, tmp_path, monkeypatch):
    """In a new folder; git clones this repository instead of GitHub's, and pip only prints its arguments."""
    settings = {f"url.file://{ROOT}.insteadOf": "https://github.com/owner/name", "safe.directory": "*"}
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for number, (key, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub/pip.py").write_text("import os, sys; print('asked', *sys.argv[1:], 'in', os.getcwd())")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"))
    commit = git(ROOT, "rev-parse", "HEAD")
    asks = (
        "import stn_paper; from stn_paper.paths import ROOT; print(ROOT, len(list(ROOT.glob('results/*/*'))))"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(asks)])
    client = NotebookClient(launch.with_install_cell(notebook, "owner/name", commit), kernel_name="python3")
    client.execute(cwd=tmp_path, env=dict(os.environ))
    printed = "".join(output.get("text", "") for output in notebook.cells[0].outputs)
    assert f"asked install --quiet --editable .[book] in {tmp_path / 'stn-paper'}" in printed
    root, records = notebook.cells[1].outputs[0].text.split()
    assert root == str(tmp_path / "stn-paper") and int(records) > 0
    assert git(root, "rev-parse", "HEAD") == commit

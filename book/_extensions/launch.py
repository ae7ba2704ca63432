"""Sphinx extension: links to the repository on GitHub, and buttons that open a notebook on Colab or Binder.

The repository is git's remote `origin`, so that a fork's book opens the fork's notebooks, at the commit from which the
book was built. Binder installs the packages of `.binder/`. For Colab, the book contains a copy of each notebook with a
first cell that installs the package; Colab reads this copy from the branch gh-pages, where the book is published.
Without a GitHub repository as origin, the book has no such buttons.
"""

import re
from functools import cache
from pathlib import Path

import nbformat

from stn_paper.paths import ROOT
from stn_paper.training.hardware import git

BRANCH = "main"  # the branch whose files the button "Edit" opens
PUBLISHED = "gh-pages"  # the branch that holds the built book
FOLDER = "launch"  # the folder of the built book with the copies for Colab
INSTALL = """\
# Run this cell first: it gets the companion with its run records and installs it, which takes some minutes.
!git clone --quiet {url} stn-paper
%cd stn-paper
!git checkout --quiet {commit}
%pip install --quiet --editable ".[book]"
import os, sys
sys.path.insert(0, os.getcwd())  # as this process started before the installation
%cd notebooks"""


def setup(app):
    app.connect("config-inited", add_repository, priority=400)  # before the theme's
    app.connect("html-page-context", add_buttons, priority=502)  # after the theme's
    app.connect("html-page-context", add_edit, priority=502)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def add_repository(app, config):
    """Offer the repository and its issues at the top of each page."""
    if found := origin(ROOT):
        offered = {"repository_url": f"https://github.com/{found[0]}"}
        offered |= {"use_repository_button": True, "use_issues_button": True}
        config.html_theme_options = config.html_theme_options | offered


def add_buttons(app, pagename, templatename, context, doctree):
    """Write the notebook's copy for Colab, and add the buttons for Colab and Binder to its page."""
    notebook = ROOT / f"{pagename}.ipynb"
    if app.builder.name == "html" and notebook.is_file() and (found := origin(ROOT)):
        copy = Path(app.outdir, FOLDER, notebook.name)
        copy.parent.mkdir(exist_ok=True)
        nbformat.write(with_install_cell(nbformat.read(notebook, as_version=4), *found), copy)
        context["header_buttons"].append(launch_buttons(notebook.name, *found))


def add_edit(app, pagename, templatename, context, doctree):
    """Add a button that edits the page's source to the theme's buttons of the repository."""
    sources = ROOT / f"{pagename}.ipynb", ROOT / "book" / f"{pagename}.md"
    source, found = next((path for path in sources if path.is_file()), None), origin(ROOT)
    if source and found:
        address = f"https://github.com/{found[0]}/edit/{BRANCH}/{source.relative_to(ROOT).as_posix()}"
        icon = "fas fa-pencil-alt"
        button = {"type": "link", "text": "Edit", "tooltip": "Edit this page", "icon": icon, "url": address}
        groups = [one["buttons"] for one in context["header_buttons"] if one.get("label") == "source-buttons"]
        (groups or [context["header_buttons"]])[0].append(button)


@cache
def origin(folder):
    """(owner/name on GitHub, commit) of the clone at `folder`; None if its origin is elsewhere."""
    url, commit = (git(*c, folder=folder) for c in (("remote", "get-url", "origin"), ("rev-parse", "HEAD")))
    match = re.search(r"(?:^|//|@)github\.com[/:]([\w.-]+/[\w.-]+?)(\.git)?/?$", url)
    return (match[1], commit) if match and commit else None


def with_install_cell(notebook, repository, commit):
    """Insert a first cell into the notebook that installs the package; return the notebook."""
    source = INSTALL.format(url=f"https://github.com/{repository}", commit=commit)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(source, id="install"))
    return notebook


def launch_buttons(name, repository, commit):
    """The buttons for Colab and Binder, as the theme describes a group of buttons."""
    colab = f"https://colab.research.google.com/github/{repository}/blob/{PUBLISHED}/{FOLDER}/{name}"
    binder = f"https://mybinder.org/v2/gh/{repository}/{commit}?urlpath=lab/tree/notebooks/{name}"
    links = [
        {"type": "link", "text": text, "tooltip": f"Open this notebook on {text}", "icon": icon, "url": url}
        for text, icon, url in (
            ("Colab", "_static/images/logo_colab.png", colab),
            ("Binder", "_static/images/logo_binder.svg", binder),
        )
    ]
    return {
        "type": "group",
        "tooltip": "Run this notebook in the browser",
        "icon": "fas fa-rocket",
        "buttons": links,
        "label": "launch-buttons",
    }

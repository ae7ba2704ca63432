"""The pages of runs and the tables with links to them: numbers of the records, escaped text, links that resolve."""

import json
import re
import shlex
from dataclasses import asdict, fields, replace
from html.parser import HTMLParser
from types import SimpleNamespace

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from helpers import edit, write_run

from stn_paper import cli
from stn_paper.analysis import frame
from stn_paper.analysis.statistics import MISSING
from stn_paper.errors import InputError
from stn_paper.paths import ROOT
from stn_paper.report import accuracy_page, experiment_page, interactive, run_pages
from stn_paper.training import loop, records
from stn_paper.training.presets import PROTOCOLS
from stn_paper.training.protocol import Protocol
from stn_paper.training.spec import RunSpec


@pytest.fixture(scope="module")
def companion(extension):
    return extension("companion")


@pytest.fixture(scope="module")
def written(companion, tmp_path_factory):
    """The folder of the JSON files beside the pages of the committed records, and {name: HTML of the page}."""
    folder = tmp_path_factory.mktemp("book")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STN_PAPER_RESULTS", str(ROOT / "results"))
        pages = list(companion.run_record_pages(SimpleNamespace(outdir=folder)))
    return folder, {name: context["body"] for name, context, _ in pages}


class Whole(HTMLParser):
    """Check that every opened tag is closed."""

    void = frozenset(("br", "img", "meta", "link", "input"))

    def __init__(self, html):
        super().__init__()
        self.open = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_record_has_a_page_with_its_numbers(written):
    folder, pages = written
    paths = [p for p in (ROOT / "results").glob("*/*_seed*.json") if p.parent.name != "smoke"]
    assert set(pages) == {f"runs/{path.stem}" for path in paths}
    for path in paths:
        record, body = json.loads(path.read_text()), pages[f"runs/{path.stem}"]
        Whole(body)
        for selected in record["selected"].values():
            assert f"<td>{selected['test']:.2f}</td>" in body
        if "test" in record:
            assert f"<td>{record['test']['class_accuracy']:.2f}</td>" in body
        for shown in (record["environment"]["commit"], record["environment"]["torch"]):
            assert f"<td>{shown}</td>" in body
        assert f"{record['parameters']:,} parameters" in body
        assert json.loads((folder / f"runs/{path.stem}.json").read_text()) == record


def test_links_of_a_run_page_lead_to_other_runs(written):
    _, pages = written
    for body in pages.values():
        links = set(re.findall(r'href="([^".][^"]*)\.html"', body))
        assert {f"runs/{link}" for link in links} <= set(pages)


def test_a_run_page_lists_its_other_seeds_and_variants():
    for variant, seed in (("original", 0), ("original", 1), ("lstn", 0)):
        write_run(variant, seed, 40.0 + seed)
    write_run("lstn", 0, 99.0, dataset="cifar10")
    found = frame.records_by_name()
    name = next(name for name in found if "caltech101_reduced_resnet18_original_seed0" in name)
    body = run_pages.run_page(name, found)
    assert re.findall(r">(seed \d: [\d.]+)<", body) == ["seed 0: 40.00", "seed 1: 41.00", "seed 0: 40.00"]


def test_a_pages_relatives_share_dataset_network_and_protocol():
    for variant, dataset, protocol in (
        ("original", "caltech101", "reduced"),
        ("lstn", "caltech101", "reduced"),
        ("lstn", "cifar10", "reduced"),
        ("lstn", "caltech101", "equal"),
    ):
        write_run(variant, 0, 40.0, dataset=dataset, protocol=protocol)
    found = frame.records_by_name()
    groups = run_pages.related_runs(found)
    assert groups.keys() == found.keys() and sorted(map(len, groups.values())) == [1, 1, 2, 2]
    for name in found:
        assert run_pages.run_page(name, groups[name]) == run_pages.run_page(name, found)


def test_a_page_lists_itself_and_a_bounded_number_of_seeds(monkeypatch):
    monkeypatch.setattr(run_pages, "RELATED", 3)
    for seed in range(5):
        for variant in ("original", "lstn"):
            write_run(variant, seed, 40.0 + seed)
    found = frame.records_by_name()
    groups = run_pages.related_runs(found)
    assert groups.keys() == found.keys() and all(name in group for name, group in groups.items())
    assert {len(group) for group in groups.values()} == {6, 7}  # six, or seven with the page's own run


def test_a_users_own_protocol_is_shown_on_every_page():
    mine = Protocol("mine", image_size=64, batch_size=13, max_epochs=20, min_epochs=20)
    path = write_run("lstn", 0, 40.0, protocol=mine)
    found = frame.records_by_name()
    body = run_pages.run_page(path.stem, found)
    assert "mine" in body and "<td>13</td>" in body and run_pages.training_command(found[path.stem]) == ""
    assert path.stem in interactive.show_all_runs().data


def test_a_copy_of_a_record_is_no_other_run():
    path = write_run("lstn", 0, 40.0)
    copy = path.with_name(f"{path.stem} (1).json")
    copy.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=r"\(1\)\.json is of the run caltech101_reduced_resnet18_lstn_seed0"):
        frame.records_by_name()


def test_text_in_a_record_is_escaped():
    path = write_run("original", 0, 40.0)
    environment = {"device": "<script>alert(1)</script>", "commit": "<b>"}
    edit(path, environment=environment, data={"fingerprint": '"><img src=x>'})
    body = run_pages.run_page(path.stem, frame.records_by_name())
    views = body + interactive.show_all_runs().data
    assert "&lt;script&gt;alert(1)" in body
    assert not re.search("<script|<b>|<img", views)


@pytest.mark.parametrize("extra", [{}, {"threads": 1, "compiled": True}])
@pytest.mark.parametrize(
    "changes",
    [{}, {"skip_corrupt": True}, {"precision": "bfloat16"}, {"padding": "border", "max_epochs": 21}],
)
def test_the_command_asks_for_the_same_run(monkeypatch, extra, changes):
    spec = RunSpec("gtsrb", "resnet18", "lstn", "paper", 3)
    spec = replace(spec, protocol=replace(spec.protocol, **changes))
    assert spec.changes == changes
    line = run_pages.training_command({"spec": asdict(spec), "environment": extra})
    *settings, python, flag, package, verb = shlex.split(line)[: shlex.split(line).index("run") + 1]
    assert (python, flag, package, verb) == ("python", "-m", "stn_paper", "run")
    assert settings == ["OMP_NUM_THREADS=1"] * bool(extra) + ["STN_PAPER_RESULTS=again"]
    calls = []
    monkeypatch.setattr(loop, "run", lambda *given: calls.append(given))
    with pytest.raises(SystemExit):  # as no record comes back
        cli.main(shlex.split(line)[len(settings) + 3 :])
    assert calls[0][0] == spec
    assert calls[0][3] is bool(extra)


def test_the_commands_of_all_records_ask_for_them(committed, monkeypatch):
    for name, record in frame.records_by_name().items():
        calls = []
        monkeypatch.setattr(loop, "run", lambda *given, calls=calls: calls.append(given))
        words = shlex.split(run_pages.training_command(record))
        if not words:
            assert record["spec"]["protocol"]["name"] not in PROTOCOLS
            continue
        with pytest.raises(SystemExit):
            cli.main(words[words.index("run") :])
        assert calls[0][0].name == name


def test_a_users_own_protocol_has_no_command():
    path = write_run("original", 0, 40.0)
    record = records.read_record(path)
    record["spec"]["protocol"]["name"] = "mine"
    assert run_pages.training_command(record) == ""
    assert "stn_paper run" not in run_pages.run_page("x", {"x": record})


def test_every_setting_has_a_name_in_words():
    assert list(run_pages.SETTING_NAMES) == [field.name for field in fields(Protocol)]


def test_curves_hold_every_finite_number_of_the_record():
    record = records.read_record(write_run("original", 0, 40.0))
    record["epochs"][3]["train_loss"] = float("nan")
    drawn = run_pages.curves_chart(record)
    rows = drawn["data"]["values"]
    assert rows == json.loads(json.dumps(rows, allow_nan=False))
    found = {(row["quantity"], row["split"]): [] for row in rows}
    for row in rows:
        found[row["quantity"], row["split"]].append(row["value"])
    assert found["accuracy (%)", "validation"] == [e["validation_accuracy"] for e in record["epochs"]]
    assert len(found["loss", "training"]) == len(record["epochs"]) - 1
    assert all(text in run_pages.curves_in_words(record) for text in ("epoch 1", "50.00 %", "40.00 %"))


def links(html):
    return re.findall(r'href="\.\./runs/([^"]+)\.html"', html)


def test_tables_lead_to_pages_that_exist(committed):
    names = set(frame.records_by_name())
    assert sorted(links(interactive.show_all_runs().data)) == sorted(names)
    for dataset in ("caltech101", "cifar10"):
        found = links(interactive.show_accuracies(dataset, ("paper", "equal", "reduced")).data)
        assert found and set(found) <= names
    assert set(links(interactive.show_system_runs("digits", "mnist-cnn").data)) <= names


def test_smoke_runs_have_no_page():
    write_run("original", 0, 40.0, dataset="digits", protocol="smoke")
    assert frame.records_by_name() == {}
    view = interactive.show_accuracies("digits", ["smoke"]).data
    assert "40.00" in view and "href" not in view


def starred(html):
    return re.findall(r'<td class="[^"]*\bbest\b[^"]*" ?>([^<]*)<', html)


def test_a_star_needs_a_difference_that_is_shown():
    for seed, (alone, better, same) in enumerate([(50, 60, 50.5), (51, 61.5, 50), (52, 61.8, 53)]):
        write_run("original", seed, alone)
        write_run("lstn", seed, better)
        write_run("original", seed, alone, backbone="resnet50")
        write_run("lstn", seed, same, backbone="resnet50")
    write_run("original", 0, 90.0, protocol="paper")
    write_run("lstn", 0, 99.0, protocol="paper")  # one seed shows nothing
    assert starred(interactive.show_accuracies("caltech101", ["paper", "reduced"]).data) == ["61.10"]
    assert interactive.show_accuracies("cifar10", ["paper"]) is None


def test_cells_are_numbers_alone_and_text_is_escaped():
    view = pd.DataFrame({"Name": ["<b>", "b"], "Test": [1.5, float("nan")]})
    html = interactive.show_table(
        view, "A table", marks={(0, "Test"): "best"}, links={(0, "Test"): "a.html?b&c"}
    ).data
    soup = BeautifulSoup(html, "html.parser")
    assert [td.get_text() for td in soup("td")] == ["<b>", "1.50", "b", ""]
    assert soup("td")[1].a["href"] == "a.html?b&c" and "best" in soup("td")[1]["class"]


def test_the_arms_lead_to_their_runs():
    for variant, seed in (("original", 0), ("original", 5), ("lstn", 0)):
        write_run(variant, seed, 40.0)
    shown = experiment_page.arms_table(
        [("caltech101", "resnet18", "reduced"), ("cifar10", "resnet18", "reduced")]
    ).data
    names = ["resnet18_original_seed0", "resnet18_lstn_seed0", "resnet18_original_seed5"]
    assert all(name in link for name, link in zip(names, links(shown), strict=True))
    assert MISSING in shown


def test_no_two_runs_share_a_title(committed):
    titles = [run_pages.run_title(record["spec"]) for record in frame.records_by_name().values()]
    assert len(titles) == len(set(titles)) > 0


def test_every_run_is_counted_and_unknown_code_is_named():
    assert MISSING in interactive.all_runs_in_words().lower()
    for seed, commit in enumerate(("abc", "abc+changes", "")):
        path = write_run("original", seed, 40.0)
        edit(path, environment={"commit": commit}, measured={"seconds": 1800})
    assert re.findall(r"[\d.]+(?<!\.)", interactive.all_runs_in_words()) == ["3", "1", "1.5", "1", "1"]


def test_the_bundle_is_imported_as_it_is_shipped(companion):
    module = (companion.BUNDLE / "dt_bundle.js").read_text(encoding="utf-8")
    script = companion.as_classic_script(module)
    (text,) = re.findall(r"new Blob\(\[(.*)\], \{ type", script)
    assert json.loads(text) == module


def test_a_moved_page_leads_to_a_page_that_exists(companion, tmp_path):
    companion.write_redirects(SimpleNamespace(outdir=tmp_path))
    for old in companion.MOVED:
        address = BeautifulSoup((tmp_path / f"{old}.html").read_text(), "html.parser").a["href"]
        assert (ROOT / "notebooks" / address.split("#")[0]).with_suffix(".ipynb").exists()
        assert not (ROOT / f"{old}.ipynb").exists()


def test_tables_are_loaded_where_there_is_one(companion):
    loaded = []
    app = SimpleNamespace(
        add_css_file=lambda name, **_: loaded.append(name), add_js_file=lambda name, **_: loaded.append(name)
    )
    for body in ("<p>interactive</p>", '<table class="dataframe">'):
        companion.load_tables(app, "p", "page.html", {"body": body}, None)
    assert loaded == []
    companion.load_tables(app, "p", "page.html", {"body": accuracy_page.accuracy_table(6).data}, None)
    assert loaded == ["datatables.css", "datatables.js", "interactive.js"]


def test_a_book_in_one_page_has_its_files_beside_it(companion, tmp_path):
    for place in ("_images/a.png", "_static/b.css", "notebooks/index.html"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    app = SimpleNamespace(
        outdir=tmp_path,
        config=SimpleNamespace(root_doc="notebooks/index"),
        builder=SimpleNamespace(name="html"),
    )
    companion.copy_singlehtml_files(app, None)
    assert not (tmp_path / "notebooks/_images").exists()
    app.builder.name = "singlehtml"
    companion.copy_singlehtml_files(app, None)
    assert (tmp_path / "notebooks/_images/a.png").exists() and (tmp_path / "notebooks/_static/b.css").exists()

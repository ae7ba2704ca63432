"""Write ro-crate-metadata.json, which describes the repository and every run in it: `make crate` packs both.

The description is an RO-Crate 1.1 of the profiles Process Run Crate (a training is an action with software, dataset,
record, start and end) and Workflow RO-Crate (workflow/Snakefile is the main entity). Every value is from CITATION.cff,
pyproject.toml, git or a record. Snakemake's own report would lack most runs, because it has only the jobs that
Snakemake started.
"""

import subprocess
import tomllib
from pathlib import Path

import yaml
from citation import LICENSES, codemeta
from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from stn_paper.analysis import frame
from stn_paper.data.datasets import DATASETS
from stn_paper.paths import ROOT
from stn_paper.report import run_pages
from stn_paper.training import records

FILE = "ro-crate-metadata.json"
PROCESS = "https://w3id.org/ro/wfrun/process/0.5"
AUTHOR = "#author"
TIMES = {"started": "startTime", "ended": "endTime"}  # field of a record -> field of schema.org
TABLES = {
    "results/results.csv": "All runs in one table, a row a run",
    "results/costs.csv": "Parameters and operations of all networks",
    "results/README.md": "What the fields of a record and the columns of the tables hold",
}
FOLDERS = {
    "notebooks/": "The book's pages, executed",
    "stn_paper/": "The package that trains the networks and computes tables and figures",
    "stn_paper/analysis/printed/": "The paper's numbers, and those that its author released, as CSV",
    "weights/": "Weights of digit networks",
}


def crate(root=ROOT):
    """The RO-Crate of the repository at `root` and of the records in the results folder."""
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    made = ROCrate(version="1.1")
    _describe(made, codemeta(cited, project))
    made.add_workflow(
        dest_path="workflow/Snakefile",
        main=True,
        lang="snakemake",
        properties={
            "name": "The grid of the paper's tables: trainings, pages, book",
            "version": project["version"],
            "encodingFormat": "text/plain",
        },
    )
    for path, name in TABLES.items():
        made.add_file(dest_path=path, properties={"name": name, "encodingFormat": _format(path)})
    for path, name in FOLDERS.items():
        made.add_dataset(dest_path=path, properties={"name": name})
    committed = {Path(path).name for path in _git("ls-files", "results").splitlines()}
    made.root_dataset["mentions"] = [
        _run(made, name, record, project["name"])
        for name, record in frame.records_by_name().items()
        if f"{name}.json" in committed
    ]
    return made


def _describe(made, about):
    """Describe the whole crate: title, authors, licence, version, date of the commit, and the paper."""
    root = made.root_dataset
    for field in ("name", "description", "version", "keywords"):
        root[field] = about[field]
    root["datePublished"] = _git("show", "--no-patch", "--format=%cI", "HEAD")
    paper, (name,) = (
        about["referencePublication"],
        (n for n, url in LICENSES.items() if url == about["license"]),
    )
    root["license"] = _entity(made, about["license"], "CreativeWork", name=name)
    (author,), (writer,) = about["author"], paper["author"]
    root["author"] = _entity(made, AUTHOR, author["@type"], name=author["name"])
    name = f"{writer['givenName']} {writer['familyName']}"
    written = {"author": _entity(made, "#paper-author", "Person", name=name)}
    written |= {field: paper[field] for field in ("name", "datePublished")}
    root["citation"] = _entity(made, "#paper", "ScholarlyArticle", **written)
    root["conformsTo"] = _entity(made, PROCESS, "CreativeWork", name="Process Run Crate", version="0.5")


def _run(made, name, record, package):
    """Add a record, its training, and what the training used; return the training."""
    spec, environment = records.spec_of(record), record["environment"]
    chosen, title = records.selected_result(record), run_pages.run_title(record["spec"])
    measured = [
        _entity(
            made,
            f"#{name}/{images}",
            "PropertyValue",
            name=f"top-1 accuracy on {images} images{run_pages.of_the_labels(spec.dataset)}",
            value=chosen[images],
            unitText="percent",
        )
        for images in ("validation", "test")
        if images in chosen
    ]
    path = records.record_path(spec).relative_to(records.record_path(spec).parents[2])
    result = made.add_file(
        dest_path=path.as_posix(),
        properties={"name": title, "encodingFormat": "application/json", "variableMeasured": measured},
    )
    fingerprint, commit = record["data"]["fingerprint"], environment.get("commit") or "unknown"
    images = DATASETS[spec.dataset].title
    used = _entity(made, f"#{spec.dataset}-{fingerprint}", "Dataset", name=images, identifier=fingerprint)
    code = _entity(made, f"#code-{commit}", "SoftwareApplication", name=package, softwareVersion=commit)
    about = {"name": f"Training of {title}", "agent": made.dereference(AUTHOR)}
    about |= {"description": f"On {environment['device']}. {environment.get('command', '')}".strip()}
    about |= {to: environment[of] for of, to in TIMES.items() if of in environment}
    return made.add_action(code, f"#{name}", object=used, result=result, properties=about)


def _entity(made, identity, kind, /, **properties):
    """The contextual entity of this id; created at the first call."""
    return made.dereference(identity) or made.add(
        ContextEntity(made, identity, {"@type": kind, **properties})
    )


def _format(path):
    return {".csv": "text/csv", ".md": "text/markdown"}[Path(path).suffix]


def _git(*arguments):
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    crate().metadata.write(ROOT)

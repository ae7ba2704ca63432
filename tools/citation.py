"""Write all citation files from CITATION.cff and the version in pyproject.toml: `make citation`.

CITATION.cff is written by hand except its version and address. codemeta.json, .zenodo.json and the first BibTeX entries
of book/cite.md are computed. The repository's public address, if there is one, is in one place: `Repository` under
`[project.urls]` in pyproject.toml. With `--check`, nothing is written, and the exit code is 1 if a file differs.
"""

import json
import re
import sys
import textwrap
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CITE = "book/cite.md"
ADDRESS = "repository-code"  # field of CITATION.cff
LICENSES = {"MIT": "https://spdx.org/licenses/MIT"}


def files(root=ROOT):
    """{path in the repository: text that the file must have}."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    written = (root / "CITATION.cff").read_text(encoding="utf-8")
    cff = re.sub(r"(?m)^repository-code: .*\n", "", written)
    if url := project.get("urls", {}).get("Repository"):
        cff = re.sub(r"(?m)^version:", f"repository-code: {url}\nversion:", cff)
    cff = re.sub(r"(?m)^version: .*$", f"version: {project['version']}", cff)
    cited = yaml.safe_load(cff)
    page = (root / CITE).read_text(encoding="utf-8")
    return {
        "CITATION.cff": cff,
        "codemeta.json": _json(codemeta(cited, project)),
        ".zenodo.json": _json(zenodo(cited)),
        CITE: re.sub(r"(?s)```bibtex\n.*?```", lambda _: f"```bibtex\n{bibtex(cited)}```", page, count=1),
    }


def codemeta(cited, project):
    """The content of codemeta.json: CodeMeta 3.0, the vocabulary of schema.org for software."""
    (paper,) = cited["references"]
    return {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": cited["title"],
        "identifier": project["name"],
        "description": _line(cited["abstract"]),
        "version": cited["version"],
        "license": LICENSES[cited["license"]],
        **({"codeRepository": cited[ADDRESS]} if ADDRESS in cited else {}),
        "author": [{"@type": "Organization", "name": author["name"]} for author in cited["authors"]],
        "keywords": cited["keywords"],
        "programmingLanguage": "Python",
        "runtimePlatform": f"Python {project['requires-python']}",
        "softwareRequirements": project["dependencies"],
        "referencePublication": {
            "@type": "ScholarlyArticle",
            "name": paper["title"],
            "author": [
                {"@type": "Person", "givenName": a["given-names"], "familyName": a["family-names"]}
                for a in paper["authors"]
            ],
            "datePublished": str(paper["year"]),
            "isPartOf": {"@type": "Event", "name": paper["conference"]["name"]},
        },
    }


def zenodo(cited):
    """The content of .zenodo.json, the metadata of a release at Zenodo."""
    (paper,) = cited["references"]
    return {
        "title": cited["title"],
        "description": _line(cited["abstract"]),
        "upload_type": "software",
        "version": str(cited["version"]),
        "license": cited["license"].lower(),
        **({"related_identifiers": [_same(cited[ADDRESS])]} if ADDRESS in cited else {}),
        "creators": [{"name": author["name"]} for author in cited["authors"]],
        "keywords": cited["keywords"],
        "references": [f"{_names(paper)}. {paper['title']}. {paper['conference']['name']}."],
    }


def bibtex(cited):
    """Entries of the paper and of this companion."""
    (paper,) = cited["references"]
    entries = {
        ("inproceedings", "hsu2024lstn"): {
            "author": _names(paper),
            "title": paper["title"],
            "booktitle": paper["conference"]["name"],
            "year": paper["year"],
        },
        ("software", "stn_paper"): {
            "author": "{" + cited["authors"][0]["name"] + "}",
            "title": cited["title"],
            "version": cited["version"],
            "license": cited["license"],
            **({"url": cited[ADDRESS]} if ADDRESS in cited else {}),
        },
    }
    return "\n".join(
        f"@{kind}{{{key},\n" + "".join(_field(name, value) for name, value in fields.items()) + "}\n"
        for (kind, key), fields in entries.items()
    )


def _field(name, value):
    """Return a field of a BibTeX entry, wrapped to lines of at most 98 letters."""
    start = f"  {name} = {{"
    return textwrap.fill(f"{start}{value}}},", 98, subsequent_indent=" " * len(start)) + "\n"


def _same(url):
    return {"identifier": url, "relation": "isIdenticalTo", "scheme": "url"}


def _names(paper):
    return " and ".join(f"{author['family-names']}, {author['given-names']}" for author in paper["authors"])


def _line(text):
    return " ".join(text.split())


def _json(content):
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def main(check):
    """Write the files that differ; with `check`, only name them."""
    texts = files()
    current = {p: (ROOT / p).read_text(encoding="utf-8") for p in texts if (ROOT / p).exists()}
    differ = [path for path, text in texts.items() if current.get(path) != text]
    if check and differ:
        sys.exit(f"Not what CITATION.cff and pyproject.toml say: {', '.join(differ)}. Run: make citation")
    for path in differ:
        (ROOT / path).write_text(texts[path], encoding="utf-8")


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])

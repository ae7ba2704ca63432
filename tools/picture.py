"""Write the README's picture, the figure that the book's front page shows, to .github/answer.png."""

import base64
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / ".github/answer.png"


def figure(path=ROOT / "notebooks/index.ipynb"):
    """The bytes of the last PNG among a notebook's outputs."""
    outputs = [o for c in nbformat.read(path, as_version=4).cells for o in c.get("outputs", ())]
    pictures = [
        data for o in outputs for kind, data in o.get("data", {}).items() if kind.endswith("image/png")
    ]
    return base64.b64decode(pictures[-1])


if __name__ == "__main__":
    PICTURE.write_bytes(figure())

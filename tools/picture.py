"""Write the README's picture, the figure that the book's front page shows, to .github/answer.png."""

import base64
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / ".github/answer.png"


def figure(path=ROOT / "notebooks/index.ipynb"):
    """The bytes of the last PNG among a notebook's outputs."""
    outputs = [o for c in nbformat.read(path, as_version=4).cells for o in c.get("outputs", ())]
    pictures = [o.data["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    return base64.b64decode(pictures[-1])


if __name__ == "__main__":
    PICTURE.write_bytes(figure())

"""Where everything lies; no other module knows a folder's place.

Each folder can be moved by an environment variable, so that an installed package writes where its user
wants and a test writes nowhere else.
"""

import os
from pathlib import Path

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent  # the repository
PRINTED = PACKAGE / "printed"  # the paper's tables as CSV


def data_dir(given=None):
    """The datasets' folder: `given`, else $STN_PAPER_DATA, else data/ in the repository."""
    return Path(given or os.environ.get("STN_PAPER_DATA") or ROOT / "data").expanduser()


def results_dir():
    """The run records' folder: $STN_PAPER_RESULTS, else results/ in the repository."""
    return Path(os.environ.get("STN_PAPER_RESULTS") or ROOT / "results")


def cache_dir():
    """Decoded images and checkpoints: $STN_PAPER_CACHE, else cache/ in the repository. Safe to delete."""
    return Path(os.environ.get("STN_PAPER_CACHE") or ROOT / "cache")

"""Add the digest to each record under results/ that was written before records had digests.

    python tools/add_digests.py

Records that have a digest are checked and are not changed.
"""

from stn_paper.paths import results_dir
from stn_paper.training.records import add_digest

paths = sorted(results_dir().rglob("*_seed*.json"))
added = sum(map(add_digest, paths))
print(f"{added} of {len(paths)} records got a digest.")

"""Hostile input, 1,000 cases of all kinds: each ends in a result or in one sentence, never in a traceback."""

import os

import pytest

pytest.importorskip("hypothesis")
from hostile import KINDS, attempt

CASES = int(os.environ.get("HOSTILE_CASES", 1000)) // len(KINDS)
START = int(os.environ.get("HOSTILE_SEED", 0))


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_input_ends_in_a_result_or_a_sentence(kind):
    found = attempt(kind, CASES, START)
    assert 0 < found["cases"] <= CASES
    if kind == "files in the cache":  # a damaged one is decoded anew
        assert found["result"] == found["cases"]
    else:
        assert found["sentence"] > 0

"""Fixtures of the tests that train a tiny network."""

from functools import cache
from time import perf_counter
from types import SimpleNamespace

import pytest
from tiny import tiny_backbone, tiny_spec

from stn_paper.models.backbones import BACKBONES, Backbone
from stn_paper.training import checkpoint, hardware, loop

commit_once = cache(hardware.current_commit)  # git takes as long as a short run


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(hardware, "current_commit", commit_once)
    monkeypatch.setitem(BACKBONES, "tiny", Backbone("Tiny", 32, tiny_backbone))


@pytest.fixture(scope="module")
def kept_checkpoint(tmp_path_factory):
    """The bytes of a checkpoint after one epoch of the tiny run."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RESULTS", "CACHE"):
            patch.setenv(f"STN_PAPER_{name}", str(tmp_path_factory.mktemp(name)))
        patch.setitem(BACKBONES, "tiny", Backbone("Tiny", 32, tiny_backbone))
        clock = iter([0, 1])
        patch.setattr(loop, "time", SimpleNamespace(perf_counter=perf_counter, time=lambda: next(clock)))
        assert loop.run(tiny_spec(), "cpu", until=1) is None
        assert checkpoint.epochs_done(tiny_spec()) == 1
        return checkpoint.checkpoint_path(tiny_spec()).read_bytes()

"""No test writes outside its own folder, and all of them run on one thread, as CPU results depend on it."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    for name in ("RESULTS", "CACHE"):
        monkeypatch.setenv(f"STN_PAPER_{name}", str(tmp_path / name.lower()))

"""Parts of sentences: numbers of any kind, also pandas' and NumPy's, with their nouns."""

import numpy as np
import pytest

from stn_paper.report import sentences


@pytest.mark.parametrize("kind", [int, float, np.int64, np.float64])
def test_a_number_of_any_kind_has_its_noun(kind):
    texts = [sentences.count_text(kind(number), "run") for number in (0, 1, 2)]
    assert texts == ["0 runs", "1 run", "2 runs"]

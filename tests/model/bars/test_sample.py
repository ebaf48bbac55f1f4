"""The sample of bars, whose file is read without importing the package that it comes with."""

import numpy as np
from arch.data import nasdaq

from model.bars.sample import sample_bars


def test_the_sample_is_what_the_package_itself_reads() -> None:
    bars, theirs = sample_bars(), nasdaq.load().rename(columns=str.lower)
    assert (bars.index == theirs.index).all() and len(bars) == 5031
    np.testing.assert_array_equal(bars, theirs[list(bars.columns)])

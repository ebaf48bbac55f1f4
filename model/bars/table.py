"""A table of cells as they came in, before anything is known of what they mean."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Levels = tuple[str, ...]  # the names of one column, one for each header row


@dataclass(frozen=True)
class Table:
    """Cells as they came in: `names` of the columns, the `columns`, and each row's place.

    A place is the line of a file, or the row of a frame, that messages name.
    """

    names: tuple[Levels, ...]
    columns: tuple[pd.Series, ...]
    places: NDArray[np.int64]
    headerless: str  # the first line of a file without a header row
    attrs: Mapping[Hashable, Any]  # a frame's own
    likely: Levels  # what the columns may be, where no header names them
    delimiter: str = ","

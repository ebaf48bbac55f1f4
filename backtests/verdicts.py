"""The old name of backtests/false_alarms.py, gone in the next release."""

import warnings

from backtests.false_alarms import app
from model.cli import run

if __name__ == "__main__":
    warnings.warn(
        "backtests/verdicts.py is called backtests/false_alarms.py now; "
        "the old name goes in the next release.",
        FutureWarning,
        stacklevel=1,
    )
    run(app)

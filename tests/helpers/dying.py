"""A process that dies, in a module that loads nothing.

So that the processes of a test start at once.
"""

import os
import signal
from pathlib import Path


def die_if_told(number: int, told: bool, marker: str) -> int:
    """Kill this process if told: once if there is a marker to leave, else always."""
    if told and not (marker and os.path.exists(marker)):
        if marker:
            Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number

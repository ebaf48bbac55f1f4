"""In the packages' folders; helpers, glossary, contributing."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Set before any library that computes is loaded: the threads of two processes on two cores
    # would wait for each other in spin loops, a hundred times slower.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

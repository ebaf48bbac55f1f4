"""Sides of a benchmark that cost nothing, for the processes that the tests start."""

import os

from backtests.benchmarks.rounds import Round, Work


def numbers(size: int) -> Round:
    """Give the round's number, the size and the process that it was done in."""

    def play(number: int) -> Work:
        print("what a library prints does not get into the way")
        return Work(size, [number, size, os.getpid()])

    return play


def broken(size: int) -> Round:
    raise SystemExit(3)

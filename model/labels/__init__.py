"""Moves, trades with levels, your own labels."""

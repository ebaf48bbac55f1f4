"""Detectors of look-ahead and what goes through them."""

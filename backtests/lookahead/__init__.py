"""Detectors of look-ahead, and what they check."""

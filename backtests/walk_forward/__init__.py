"""Folds over time: training them, keeping them, choosing their thresholds."""

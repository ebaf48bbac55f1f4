"""Windows, split, training loop, calibration, resuming."""

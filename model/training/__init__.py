"""Windows, purged split, loop, calibration, resuming."""

"""From bars to a checkpoint: windows, split, training loop, calibration, resuming."""

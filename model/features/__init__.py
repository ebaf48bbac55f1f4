"""86 features of the trailing 101 bars."""

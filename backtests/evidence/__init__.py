"""Is it luck? Benchmarks, bootstrap, tests, verdict."""

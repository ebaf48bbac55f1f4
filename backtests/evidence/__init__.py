"""Is it luck? Decisions, benchmarks, bootstrap, tests, and the verdict."""

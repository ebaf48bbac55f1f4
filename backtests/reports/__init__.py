"""Tables, files, charts and pages of a run."""

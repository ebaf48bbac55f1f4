"""What a run leaves: tables, files, charts and pages."""

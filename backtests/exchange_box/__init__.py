"""A mock exchange that replays bars as live."""

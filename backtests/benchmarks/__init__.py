"""How fast: our way and the usual ways, side by side."""

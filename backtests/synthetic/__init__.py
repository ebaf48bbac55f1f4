"""Markets whose best possible forecast is known."""

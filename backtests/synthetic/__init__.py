"""Markets whose best possible forecast is known, and controls on them."""

"""What positions earn after costs: broker, vectorised."""

"""Trained models as files, and serving them."""

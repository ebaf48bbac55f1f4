"""Folds over time: trained, kept, resumed."""

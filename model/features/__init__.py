"""86 features, and features of your own."""

"""In the packages' folders; helpers, glossary, contributing."""

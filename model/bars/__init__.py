"""Any file to sound bars, or refused."""

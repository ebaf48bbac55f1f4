"""Walk-forward, evidence, verdict, audits and controls."""

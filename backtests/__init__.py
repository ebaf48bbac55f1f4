"""How to judge: synthetic markets with a known best score, simulation, walk-forward, evidence, reports."""

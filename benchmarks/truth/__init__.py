"""Moving bodies whose every joint is known, and the measures of a fit against them; see ``benchmarks/mesh_truth.py``."""

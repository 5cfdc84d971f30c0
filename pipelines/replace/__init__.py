"""Another body in the same shot."""

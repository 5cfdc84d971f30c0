"""Video operators: pure functions on frames, tracks and transforms."""

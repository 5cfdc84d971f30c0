"""The vocabulary: types, errors, settings, progress, run folder."""

"""Calibrated cameras: the model, the file formats, how clips meet cameras and how views meet in time."""

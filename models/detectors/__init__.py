"""Person detectors, one network a file, all behind :class:`models.detector.PersonDetector`."""

"""The parts of the wan-animate engine: what the network is shown, and how it is loaded."""

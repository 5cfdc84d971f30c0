"""Speed and memory of the diffusion engines, measured with networks of full size and random weights."""

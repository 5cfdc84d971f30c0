"""Body models, their fit to a clip, and the figures drawn from them."""

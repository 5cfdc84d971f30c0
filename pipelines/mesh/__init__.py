"""A person's body in a video as a mesh, and its files."""

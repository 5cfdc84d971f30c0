"""Files for meshes, skeletons and tables of motion. Plain arrays in, files out; nothing here knows what a body is."""

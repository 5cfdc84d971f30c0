"""Garments in MakeHuman's open format: reading the files, binding them to the body, wearing them in layers."""

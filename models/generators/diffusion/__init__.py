"""The parts of the Stable Diffusion engine, one noun a file. Torch and diffusers are imported only where they are used."""

"""Pictures of a fitted body: rasterisation, shading, the ground, and a camera that circles it. See docs/mesh-rendering.md."""

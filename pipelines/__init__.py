"""What the product does, each a readable ordered list of named stages."""

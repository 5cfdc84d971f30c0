"""What every product finds out about a clip: who is in it, how the camera moves, the body, the light."""

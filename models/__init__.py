"""Adapters around networks and body models: code, never weights."""

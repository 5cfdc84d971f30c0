"""The REST API: one file a resource, and the guard that stands before it and the page."""

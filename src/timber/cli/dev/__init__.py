"""``timber dev``: the application of this folder with servers of its own, begun again whenever a file changes."""

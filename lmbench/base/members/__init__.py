"""The built-in members of the four axes: one visible line each, one file per axis."""

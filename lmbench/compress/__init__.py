"""Compression levels, one file per method: what is done to weights before an engine gets them."""

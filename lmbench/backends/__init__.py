"""Engines, one file each; they load what they are given, and do not know each other."""

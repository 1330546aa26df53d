"""Requests to an endpoint over HTTP: one lean client per event loop, any number of client processes."""

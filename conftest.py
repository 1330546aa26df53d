"""Root of the test session; the plugin itself is loaded by its entry point."""

pytest_plugins = ["pytester"]

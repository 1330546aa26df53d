"""Sessions inside of a session (paired workers, confirming processes): what a tree's configuration must not do in them."""

from __future__ import annotations

import pytest

QUIET = (
    "-p",
    "no:cacheprovider",
    "-q",
    "--continue-on-collection-errors",
    "--lmbench-slow",
    "--lmbench-reports=none",
    "--benchmark-enable",
)
"""Options of pytest, lmbench and pytest-benchmark: nothing is stored, and everything that is named is measured."""


class InnerSession:
    """A plugin that keeps other plugins from spreading the session over processes and from tracing its code."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self, early_config: pytest.Config, args: list[str]) -> None:
        """Add the options of plugins that are active; one that is installed and turned off (-p no:NAME) knows none."""
        if early_config.pluginmanager.hasplugin("xdist"):
            args.append("-n0")
        if early_config.pluginmanager.hasplugin("pytest_cov"):
            args.append("--no-cov")
            early_config.known_args_namespace.no_cov = True  # pytest-cov reads it in this very hook

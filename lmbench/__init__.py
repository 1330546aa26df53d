"""lmbench: benchmarks and stress tests for language-model workloads, with verdicts one can act on."""

__version__ = "0.1.0"

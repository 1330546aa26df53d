"""The matrix: suites expanded into cases with stable ids and digests, and why a case cannot run here."""

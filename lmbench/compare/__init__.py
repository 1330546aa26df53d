"""Is it worse: pure arithmetic on records, without files, clocks or printing."""

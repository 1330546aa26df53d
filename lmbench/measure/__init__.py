"""The clock and everything read beside it: phases, sampler, probes, metrics, ceilings; nothing here judges a number."""

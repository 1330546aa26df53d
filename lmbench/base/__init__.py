"""Words everybody shares: errors, units, registry, seams, digests, cache and files; nothing that measures or decides."""

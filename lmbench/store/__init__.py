"""Where records lie: runs in pytest-benchmark's JSON files and journals, baselines among them; nothing that judges."""

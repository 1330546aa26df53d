"""How many of which machine: plans computed from stored records, with intervals, flagged where they leave what was measured."""

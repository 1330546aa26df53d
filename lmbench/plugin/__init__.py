"""The only room that knows pytest: suites collected, cases run as items, verdicts raised, runs stored."""

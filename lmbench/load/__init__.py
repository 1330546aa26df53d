"""When requests leave and where they go; pure logic that takes a clock and never reads one."""

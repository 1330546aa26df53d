"""The thing under test: one engine holding one compressed model, checked against its fp32 parent."""

"""What was asked: suite files read, inherited and validated; nothing here knows what a cell of the matrix will cost."""

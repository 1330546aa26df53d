"""What is kept: the versioned Record, the environment it was made in, and their JSON form."""

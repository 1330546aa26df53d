"""Base and head side by side: two processes, rounds alternated, until the arithmetic has decided; no arithmetic of its own."""

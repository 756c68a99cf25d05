"""The addresses under /v1, a file for each group."""

"""HTTP: what the engine does, for others than the process it runs in. It decides nothing itself."""

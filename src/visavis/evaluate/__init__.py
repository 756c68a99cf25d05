"""How far to trust it: error rates, their intervals, and thresholds that keep a promise."""

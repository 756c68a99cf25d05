"""Training: the encoder learnt on pairs and triplets, and a head that says yes or no."""

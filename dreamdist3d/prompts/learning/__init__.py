"""Learning a distribution from pictures (DreamDistribution, Algorithm 1)."""

"""What there is to see in a distribution: facts, plots, pictures of draws."""

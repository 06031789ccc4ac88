"""Distributions as files: our own, the official code's, diffusers'."""

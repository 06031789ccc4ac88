"""Stands in for spconv."""

"""Stands in for kaolin."""

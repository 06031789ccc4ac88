"""Imported by a material that is not used here."""

"""Imported by a guidance that is not used here."""

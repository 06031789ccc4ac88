"""Imported by the savers; its logger is off."""

"""Imported by a guidance that is not used here."""


class CannyDetector:
    """Never made."""


class NormalBaeDetector:
    """Never made."""

"""TRELLIS's text pipeline as an engine: a draw in the place of its prompt, its mesh on our road.

Its code is imported from a checkout of its own, unmodified; nothing of it is copied or installed.
"""

"""Imported by threestudio; of its functions only this one is called without CUDA."""


def free_temporary_memory() -> None:
    """There is none."""

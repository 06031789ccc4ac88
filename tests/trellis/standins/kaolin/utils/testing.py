"""The one check of kaolin's that FlexiCubes calls."""


def check_tensor(tensor, shape=None, dtype=None, device=None, throw=True):
    fits = shape is None or (
        tensor.ndim == len(shape) and all(want in (None, size) for want, size in zip(shape, tensor.shape, strict=True))
    )
    if throw and not fits:
        raise ValueError(f"{tuple(tensor.shape)} is not {shape}")
    return fits

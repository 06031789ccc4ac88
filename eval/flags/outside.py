"""Assets that look like no reference."""

from torch import Tensor

from dreamdist3d.eval.fidelity.manifold import NEAREST, inside_balls


def outside_manifold(
    features: Tensor,  # [A, V, D]
    references: Tensor,  # [R, D]
    nearest: int = NEAREST,
) -> Tensor:
    """Assets of which no view lies in any reference's k-nearest-neighbour ball: bool [A].

    One view inside is enough: references mostly show fronts, and a good asset's back looks like none of them.

    Raises:
        ValueError: k or fewer references.

    Example:
        >>> references = torch.arange(4.0)[:, None]
        >>> outside_manifold(torch.tensor([[[9.0], [2.5]], [[9.0], [8.0]]]), references, nearest=1).tolist()
        [False, True]
    """
    inside = inside_balls(references, features.flatten(0, 1), nearest).any(dim=0)
    return ~inside.view(features.shape[:2]).any(dim=1)

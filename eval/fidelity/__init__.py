"""How faithful the assets of a set are to the references or to a text, one measure a module."""

from dreamdist3d.eval.fidelity.agreement import agreement
from dreamdist3d.eval.fidelity.frechet import frechet_distance
from dreamdist3d.eval.fidelity.inception import Kid, fid, inception_answers, kid
from dreamdist3d.eval.fidelity.manifold import Prdc, inside_balls, prdc
from dreamdist3d.eval.fidelity.references import Fidelity, reference_similarity
from dreamdist3d.eval.fidelity.text import text_similarity

__all__ = [
    "agreement",
    "Fidelity",
    "Kid",
    "Prdc",
    "fid",
    "frechet_distance",
    "inception_answers",
    "inside_balls",
    "kid",
    "prdc",
    "reference_similarity",
    "text_similarity",
]

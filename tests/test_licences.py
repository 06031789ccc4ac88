"""What is said of licences, and that what everybody installs asks for no more than notices."""

import re

import pytest

from dreamdist3d.backbones.catalogue import CATALOGUE
from dreamdist3d.backbones.licences import terms_of_run, weights_terms
from dreamdist3d.cli.weights import doctor
from dreamdist3d.doctor import licences
from dreamdist3d.licences import Terms, listed, required_packages
from dreamdist3d.trellis.licences import terms_of_asset

PERMISSIVE = re.compile(r"(Apache|MIT|BSD|0BSD|Zlib|CC0|BSL|PSF|HPND|ISC)\b", re.IGNORECASE)
COPYLEFT = re.compile(r"\b(A?GPL|LGPL|MPL|EUPL|CC-BY-(NC|SA)|non-?commercial)", re.IGNORECASE)


@pytest.mark.parametrize("terms", required_packages(), ids=lambda terms: terms.part)
def test_every_package_that_is_installed_unasked_is_permissive(terms: Terms) -> None:
    assert PERMISSIVE.search(terms.licence) and not COPYLEFT.search(terms.licence)


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_weights_from_the_hub_restrict_uses(name: str) -> None:
    terms = weights_terms(name, "lifted the asset")
    assert terms.licence == CATALOGUE[name].licence and terms.limit == "uses" and name in terms.part
    assert "restricts uses" in str(terms)


def test_a_run_s_terms_are_those_of_both_its_weights() -> None:
    lifted, learned = terms_of_run("mvdream", "sd21")
    assert (lifted.role, learned.role) == ("lifted the asset", "learned the prompts")
    assert listed([lifted, learned, lifted]) == (
        "weights mvdream: OpenRAIL (restricts uses); weights sd21: CreativeML OpenRAIL++-M (restricts uses)"
    )
    assert terms_of_run("mini", None) == [Terms("weights mini", "Apache-2.0", role="lifted the asset")]
    assert terms_of_run("/my/weights", None)[0].limit == "unknown" and terms_of_run(None, None) == []


def test_only_its_own_weights_have_trellis_s_terms() -> None:
    published, own = (terms_of_asset(model, "mesh")[0] for model in ("microsoft/TRELLIS-text-xlarge", "/my/model"))
    assert (published.licence, published.limit) == ("MIT", "none") and own.limit == "unknown"
    limits = {terms.limit for terms in terms_of_asset("microsoft/TRELLIS-text-xlarge", "gaussians")}
    assert limits == {"none", "non-commercial", "copyleft"}


def test_a_record_holds_no_empty_entries() -> None:
    assert Terms("a", "MIT", package="a").to_dict() == {"part": "a", "licence": "MIT", "limit": "none"}


def test_the_report_names_every_part(capsys: pytest.CaptureFixture[str]) -> None:
    doctor(licences=True)
    shown = capsys.readouterr().out
    for place, parts in licences().items():
        assert place in shown and all(str(terms) in shown for terms in parts)
    assert "(non-commercial)" in shown and "MIT" in shown

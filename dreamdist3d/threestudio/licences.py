"""The terms of threestudio and of the parts that it needs beyond ours, as their repositories state them."""

from dreamdist3d.licences import Terms

PARTS = (
    Terms("threestudio", "Apache-2.0", role="lifts the asset", package="threestudio"),
    Terms("tinycudann", "BSD-3-Clause", role="its hash grid", package="tinycudann"),
    Terms("envlight", "MIT", role="imported by threestudio, not used for our assets", package="envlight"),
    Terms(
        "nvdiffrast",
        "NVIDIA Source Code License (1-Way Commercial)",
        "non-commercial",
        "imported by threestudio, not used by our exporter",
        "nvdiffrast",
    ),
)

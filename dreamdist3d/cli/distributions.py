"""Commands about prompt distributions."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from dreamdist3d.choices import Batching, CompositionKind, Covariance, Device, LearnPrecision, Noise, Objective
from dreamdist3d.cli.given import BackboneName, given, left_out

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone
    from dreamdist3d.prompts import PromptDistribution, PromptDraw, PromptSource, ReferenceImages
    from dreamdist3d.prompts.looks.health import Health
    from dreamdist3d.prompts.looks.pictures import Sampling


@dataclass(frozen=True)
class LearnSettings:
    """Settings of learning; those left out take the backbone's preset."""

    objective: Annotated[Objective | None, left_out("{coupled,paper}", "coupled")] = None
    """coupled: each draw belongs to a picture, and decides it. paper: Algorithm 1 as published, which is also what a
    diagonal covariance is learned with."""
    prompts: Annotated[int | None, left_out("INT", "32")] = None
    """K, the prompts that span the distribution; 1 is textual inversion."""
    tokens: Annotated[int | None, left_out("INT", "4")] = None
    """M, learned vectors in each prompt."""
    samples: Annotated[int | None, left_out("INT", "1")] = None
    """S, draws per image and step; the coupled objective has one."""
    batch: Annotated[int | None, left_out("INT", "16; mini: 32")] = None
    """Images per step."""
    steps: Annotated[int | None, left_out("INT", "1000; mini: 250")] = None
    """Optimisation steps."""
    lr: Annotated[float | None, left_out("FLOAT", "0.001; mini: 0.005")] = None
    """Learning rate."""
    ortho: Annotated[float | None, left_out("FLOAT", "0.001; mini: 0.005")] = None
    """Weight of the orthogonality term."""
    covariance: Annotated[Covariance | None, left_out("{low_rank,diagonal}", "low_rank")] = None
    """The Gaussian: the prompts' full covariance, or the paper's diagonal."""
    prefix: Annotated[str | None, left_out("TEXT", "none")] = None
    """Fixed words before the tokens."""
    suffix: Annotated[str | None, left_out("TEXT", "none")] = None
    """Fixed words after them."""
    seed: Annotated[int | None, left_out("INT", "0")] = None
    """Of initialisation, noise and draws."""
    min_snr_gamma: Annotated[float | None, left_out("FLOAT", "every timestep weighs the same")] = None
    """Min-SNR loss weighting (usually 5)."""


@dataclass(frozen=True)
class ExecutionSettings:
    """How steps are computed; never what."""

    precision: LearnPrecision = "auto"
    """Of text encoder and UNet; auto is bf16 on GPUs that compute in it."""
    compile: bool = False
    """Compile the UNet."""
    low_vram: bool = False
    """Gradient checkpointing: less memory for more time."""


def learn(
    folder: Positional[Path],
    out: Path,
    backbone: BackboneName = "mini",
    settings: Annotated[LearnSettings, arg(name="")] = LearnSettings(),
    execution: Annotated[ExecutionSettings, arg(name="")] = ExecutionSettings(),
    instant: bool = False,
    details: bool = False,
    apprentice: Annotated[Path | None, left_out("FILE", "the packaged one")] = None,
    start: Annotated[Path | None, arg(name="from", metavar="FILE", help_behavior_hint="(default: random)")] = None,
    restart: bool = False,
    device: Device = "auto",
) -> None:
    """Learn a prompt distribution from a folder of reference images.

    Several GPUs: `accelerate launch -m dreamdist3d learn ...`.

    Args:
        folder: reference images: JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF; HEIC with pillow-heif.
        out: the safetensors file to write.
        instant: by an apprentice, in one pass and without optimising; pictures it does not know are learned as usual,
            beginning from its guess.
        details: with --instant, also show the UNet the pictures themselves: for one object in a few views.
        apprentice: the file of another apprentice than the packaged one.
        start: a distribution to begin from, such as an instant one; its prompts and tokens are kept in number.
        restart: forget the checkpoint of an interrupted learning.
        device: where to compute.
    """
    from dreamdist3d.apprentice import is_known
    from dreamdist3d.backbones import load_backbone
    from dreamdist3d.errors import UserError
    from dreamdist3d.prompts import Execution, PromptDistribution, config_from, learn, load_references, preset_for
    from dreamdist3d.prompts.learning.processes import Processes
    from dreamdist3d.prompts.looks.health import look_at_health
    from dreamdist3d.runs.prepare import resolve_device

    place = resolve_device(device)
    processes = Processes.joined(place)  # before anything is put on "cuda", which is then this process's own
    model = load_backbone(backbone, place)
    references = load_references(folder, model.image_size)
    if processes.leads:
        for path, reason in references.skipped:
            print(f"skipped {path}: {reason}", file=sys.stderr)
        if references.skipped:
            print(references.told, file=sys.stderr)
    objective = settings.objective or ("paper" if settings.covariance == "diagonal" else "coupled")
    config = replace(preset_for(model, objective), **given(settings))
    begin = None if start is None else PromptDistribution.load(start)
    facts = {}
    if instant:
        _check_instant(settings, start)
        begin = _instant(model, references, settings, apprentice, details)
        if is_known(begin):
            if processes.leads:
                begin.save(out)
                print(out)
            return
        facts["knownness"] = begin.metadata["knownness"]
        if processes.leads:
            said = f"such pictures are new to the apprentice (knownness {facts['knownness']}): learning from its guess"
            print(said, file=sys.stderr)
    elif details:
        raise UserError("--details are what an apprentice shows of the pictures: give --instant too.")
    if begin is not None:
        config = replace(config_from(begin, config), **given(settings))
    steps = Execution(execution.precision, execution.compile, checkpointing=execution.low_vram)
    learned = learn(model, references, config, out, restart, steps, begin)
    if processes.leads:
        print(out)
        health = look_at_health(model, learned, references.pixels) if config.prompts > 1 else None
        if health is not None or facts:
            facts |= {} if health is None else health.facts
            replace(learned, metadata=learned.metadata | facts).save(out)
        if health is not None:
            _say_health(health)


def _check_instant(settings: LearnSettings, start: Path | None) -> None:
    from dreamdist3d.errors import UserError

    if start is not None:
        raise UserError("--instant begins from the pictures alone: leave --from out.")
    if settings.covariance == "diagonal" or settings.objective == "paper":
        raise UserError("an apprentice makes coupled low_rank distributions: leave --objective and --covariance out.")


def _instant(
    model: "Backbone",
    references: "ReferenceImages",
    settings: LearnSettings,
    apprentice: Path | None,
    details: bool,
) -> "PromptDistribution":
    """What the apprentice makes of the references."""
    from dreamdist3d.apprentice import instant, load_apprentice, packaged_apprentice
    from dreamdist3d.backbones.references import FILE

    path = apprentice or packaged_apprentice(model)
    trained, prefix, suffix = load_apprentice(path), settings.prefix or "", settings.suffix or ""
    made = instant(model, trained, references, settings.prompts, prefix, suffix, details)
    if details and apprentice is not None:
        return replace(made, metadata={**made.metadata, "reference_attention_path": str(path.resolve().parent / FILE)})
    return made


@dataclass(frozen=True)
class SamplingSettings:
    """How the pictures are sampled."""

    guidance: float = 7.5
    """Classifier-free guidance scale."""
    steps: int = 30
    """Of DDIM."""
    rescale: Annotated[float | None, left_out("FLOAT", "what suits the backbone")] = None
    """Of the guided prediction's spread, 0 to 1."""
    noise: Noise = "fresh"
    """Initial noise: each picture its own, or the same for all, so that only the draws differ."""
    noise_seed: int = 0
    """Of the initial noise."""
    negative: str = ""
    """Negative prompt."""


def sample(
    distribution: Positional[Path],
    out: Path,
    count: Annotated[int, arg(aliases=["-n"])] = 16,
    prefix: Annotated[str | None, left_out("TEXT", "the stored ones")] = None,
    suffix: Annotated[str | None, left_out("TEXT", "the stored ones")] = None,
    scale: float = 1.0,
    seed: int = 0,
    batch: Batching = "independent",
    cutout: bool = False,
    backbone: Annotated[str | None, left_out("NAME|PATH", "the one it was learned with")] = None,
    settings: Annotated[SamplingSettings, arg(name="")] = SamplingSettings(),
    device: Device = "auto",
) -> None:
    """Draw prompts and sample a 2D picture of each: a quick look before lifting them to 3D.

    Beside the picture stands a .json file that names every draw.

    Args:
        distribution: a file that `learn`, `mix` or `convert` wrote.
        out: the picture to write, or with --cutout the folder.
        count: how many draws.
        prefix: words before the tokens, in place of the stored ones.
        suffix: words after them.
        scale: gamma, the distance from the mean; 1 is as learned.
        seed: of the first draw; the next ones have the seeds after it.
        batch: independent draws, antithetic pairs, or draws chosen to lie far apart.
        cutout: a picture of its own for each draw, the object alone on transparency, for tools that make 3D of a
            picture (docs/engines.md).
        backbone: mini, mvdream, mvdream15, sd15, sd21, a local folder or a checkpoint file.
        device: where to compute.
    """
    from dreamdist3d.prompts import SoftPromptEncoder, load_distribution
    from dreamdist3d.prompts.batches import draw_batch
    from dreamdist3d.prompts.looks.pictures import Sampling, check_picture, rescale_for, sample_pictures, write_sheet

    if not cutout:
        check_picture(out)
    source = load_distribution(distribution)
    model = _backbone_of(source, backbone, device)
    encoder = SoftPromptEncoder(model.tokenizer, model.text_encoder)
    draws = draw_batch(source, count, seed, batch, encoder, gamma=scale, prefix=prefix, suffix=suffix)
    sampling = Sampling(**{"rescale": rescale_for(model)} | given(settings))
    if cutout:
        _sample_cutouts(distribution, out, source, draws, model, sampling)
        return
    write_sheet(out, sample_pictures(model, source, draws, sampling), draws, source, sampling)
    print(out)


def _sample_cutouts(
    path: Path, out: Path, source: "PromptSource", draws: "list[PromptDraw]", model: "Backbone", sampling: "Sampling"
) -> None:
    from dreamdist3d.prompts.looks.collection import check_collection, picture_names, write_collection
    from dreamdist3d.prompts.looks.pictures import sample_pictures

    names = picture_names(path.stem, draws)
    check_collection(out, names)
    learned_with = source.metadata.get("backbone")
    origin = {"path": str(path.resolve()), "sha256": source.content_hash, "learned_with": learned_with}
    pictures = sample_pictures(model, source, draws, sampling)
    notes = write_collection(out, pictures, draws, names, origin, model, sampling)
    print(out)
    for name, note in notes:
        print(f"note: {name}: {note}", file=sys.stderr)


def mix(
    distributions: Positional[tuple[Path, ...]],
    out: Path,
    weights: Annotated[tuple[float, ...] | None, left_out("[FLOAT [FLOAT ...]]", "equal")] = None,
    gammas: Annotated[tuple[float, ...] | None, left_out("[FLOAT [FLOAT ...]]", "1 each")] = None,
    kind: CompositionKind = "blend",
) -> None:
    """Make one distribution of several: in between them, or now one and now another.

    Args:
        distributions: files that `learn` wrote, of one text encoder.
        out: the safetensors file to write; it holds them all.
        weights: one for each, with sum 1.
        gammas: a scale for each.
        kind: a blend is a new family between them; a mixture draws from one of them at a time.
    """
    from dreamdist3d.prompts import PromptComposition, PromptDistribution

    components = tuple(PromptDistribution.load(path) for path in distributions)
    PromptComposition(components, weights, gammas, kind).save(out)
    print(out)


def inspect(
    distribution: Positional[Path],
    out: Annotated[Path | None, left_out("PATH", "beside the file")] = None,
    references: Annotated[Path | None, left_out("FOLDER", "none")] = None,
    scale: float = 1.0,
    backbone: Annotated[str | None, left_out("NAME|PATH", "the one it was learned with")] = None,
    device: Device = "auto",
) -> None:
    """Show what a distribution has learned: nearest words, lengths, spread; warns when something is off.

    Args:
        distribution: a file that `learn` or `convert` wrote.
        out: the picture with the plots.
        references: the folder it was learned from: compares a few draws with it, which takes some sampling. Left out:
            says what `learn` found.
        scale: gamma of those draws.
        backbone: mini, mvdream, mvdream15, sd15, sd21, a local folder or a checkpoint file.
        device: where to compute.
    """
    from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder, load_references
    from dreamdist3d.prompts.looks.health import Health, look_at_health
    from dreamdist3d.prompts.looks.inspection import inspect, print_inspection, save_plots

    learned = PromptDistribution.load(distribution)
    model = _backbone_of(learned, backbone, device)
    found = inspect(learned, SoftPromptEncoder(model.tokenizer, model.text_encoder))
    print_inspection(learned, found, str(distribution))
    health = Health.recorded(learned.metadata)
    if references is not None:
        health = look_at_health(model, learned, load_references(references, model.image_size).pixels, scale)
    if health is not None:
        _say_health(health)
    out = out or distribution.with_suffix(".inspect.png")
    save_plots(found, distribution.name, out)
    print(out)


def convert(
    source: Positional[Path],
    target: Positional[Path],
    backbone: Annotated[str | None, left_out("NAME|PATH", "none")] = None,
    prefix: Annotated[str | None, left_out("TEXT", "none")] = None,
    suffix: Annotated[str | None, left_out("TEXT", "none")] = None,
    token: Annotated[str | None, left_out("TEXT", "the file's own")] = None,
) -> None:
    """Bring in other programs' learned prompts, or take ours to them.

    Reads the official DreamDistribution checkpoints (.pt) and moments (.npz), and diffusers textual inversion
    embeddings (.safetensors, .bin); writes a distribution file. Or reads a distribution file and writes an
    official .pt or, of a single prompt, an embedding.

    Args:
        source: the file to read.
        target: the file to write; its suffix says what.
        backbone: what a file of another program was learned with: a name, a local folder or a checkpoint file.
        prefix: words before the tokens, which other programs' files do not tell.
        suffix: words after them.
        token: the placeholder to take from, or to write into, an embedding file.
    """
    from dreamdist3d.backbones import load_backbone
    from dreamdist3d.prompts.formats.convert import convert

    print(convert(source, target, load_backbone(backbone) if backbone else None, prefix, suffix, token))


def _say_health(health: "Health") -> None:
    print(health.in_words, file=sys.stderr)
    for warning in health.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _backbone_of(source: "PromptSource", name: str | None, device: str) -> "Backbone":
    """The named backbone, or the one a distribution says it was learned with; refused unless its encoder fits."""
    from dreamdist3d.backbones import load_backbone
    from dreamdist3d.runs.prepare import resolve_device

    model = load_backbone(name or source.metadata.get("backbone", "mini"), resolve_device(device))
    source.check_model(model)
    return model

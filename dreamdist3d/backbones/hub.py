"""Named weights from the hub: from its cache if they are there, else from the first source that has them."""

import errno
from dataclasses import dataclass
from pathlib import Path

from dreamdist3d.backbones.catalogue import HubSource, NamedWeights
from dreamdist3d.backbones.hashes import is_verified
from dreamdist3d.errors import UserError

_LOCAL = "set system.backbone to a local folder or checkpoint file"


@dataclass(frozen=True)
class Found:
    """Weights on this disk: a model folder or a checkpoint file, and where they came from, for the record."""

    path: Path
    origin: str


class _Unusable(Exception):
    """Why one source did not give its weights."""


class _Unreachable(_Unusable):
    """The hub itself does not answer, so that asking it for another repository is a waste of time."""


def fetch(weights: NamedWeights) -> Found:
    """The weights' folder or file on this disk, downloaded if need be; every weight file's hash is checked.

    With `HF_HUB_OFFLINE` set, nothing but the cache is asked.

    Raises:
        UserError: no source has them; names each source, why not, and what to do.
    """
    for source in weights.sources:
        if (path := cached(source)) and damaged_file(source, path) is None:
            return Found(path, str(source))
    if _is_offline():
        raise UserError(_offline(weights))
    failures = []
    for source in weights.sources:
        try:
            return Found(_download(source), str(source))
        except _Unusable as failure:
            failures.append(f"{source.repository} {failure}")
            if isinstance(failure, _Unreachable):
                break
    raise UserError(
        f"weights {weights.name!r} could not be downloaded: {'; '.join(failures)}. Try again later, {_LOCAL}, "
        "or name a mirror of the hub in HF_ENDPOINT."
    )


def cached(source: HubSource) -> Path | None:
    """The folder or file of a source whose files are all in the hub's cache; asks no network."""
    from huggingface_hub import try_to_load_from_cache

    paths = [try_to_load_from_cache(source.repository, name, revision=source.revision) for name in source.files]
    if not all(isinstance(path, str) for path in paths):
        return None
    return _root(source, str(paths[0]))


def damaged_file(source: HubSource, path: Path) -> Path | None:
    """The first weight file of a source on disk whose content is not what was published."""
    for name in source.weight_files:
        file = weight_path(source, path, name)
        if is_verified(file, source.sha256.get(name)) is False:
            return file
    return None


def weight_path(source: HubSource, path: Path, name: str) -> Path:
    """Where a source's file lies, `path` being what `cached` gave."""
    return path if len(source.files) == 1 else path / name


def _download(source: HubSource) -> Path:
    _ask(source)
    root = _root(source, [_download_file(source, name) for name in source.files][0])
    if damaged := damaged_file(source, root):
        raise _Unusable(f"gave {damaged.name} with another SHA-256 than published (delete {damaged.resolve()})")
    return root


def _ask(source: HubSource) -> None:
    """One question before the download, whose own patience with a hub that does not answer is half a minute."""
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(source.repository, source.files[0], revision=source.revision))
    except errors.HfHubHTTPError as error:
        raise _explained(error, source.files[0]) from error
    except Exception as error:  # each transport has its own kinds
        raise _Unreachable(f"cannot be reached ({type(error).__name__})") from error


def _download_file(source: HubSource, name: str) -> str:
    from huggingface_hub import constants, hf_hub_download

    try:
        return hf_hub_download(source.repository, name, revision=source.revision)
    except Exception as error:  # the hub client and its transports raise many kinds; each means "not from here"
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise UserError(
                f"cannot write {source.size_gb} GB of weights in {constants.HF_HUB_CACHE}: {error.strerror}. "
                f"Make room there, point HF_HOME elsewhere, or {_LOCAL}."
            ) from error
        raise _explained(error, name) from error


def _explained(error: Exception, name: str) -> _Unusable:
    """What a failed download means, in a few words."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return _Unusable("is gated (accept its terms on the hub, then `hf auth login`)")
    if isinstance(error, errors.RepositoryNotFoundError):
        return _Unusable("is gone or private")
    if isinstance(error, errors.RevisionNotFoundError):
        return _Unusable("lacks the pinned commit")
    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, errors.HfHubHTTPError):
        return _explained(error.__cause__, name)
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return _Unusable(f"lacks {name}")
    if isinstance(error, errors.HfHubHTTPError):
        return _Unusable(f"answered {error.response.status_code}")
    return _Unusable(f"broke off ({type(error).__name__})")


def _root(source: HubSource, first: str) -> Path:
    """The snapshot's folder, from where the first of its files lies; a single file stands for itself."""
    path = Path(first)
    return path if len(source.files) == 1 else path.parents[source.files[0].count("/")]


def _offline(weights: NamedWeights) -> str:
    from huggingface_hub import constants

    names = ", ".join(source.repository for source in weights.sources)
    return (
        f"weights {weights.name!r} are not whole in {constants.HF_HUB_CACHE} and HF_HUB_OFFLINE forbids downloading "
        f"them ({names}): unset it, or {_LOCAL}."
    )


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)

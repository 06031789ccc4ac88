"""Weight files that others published: found on this disk, else downloaded once, else named in one line."""

import pickle
from pathlib import Path

import torch

from dreamdist3d.errors import UserError


def hub_file(repository: str, name: str, purpose: str, remedy: str) -> Path:
    """A file of a Hugging Face repository: from the hub's cache, else downloaded into it.

    Args:
        purpose: what the weights are for, for the message.
        remedy: what else the user can do, for the message.

    Raises:
        UserError: it is not there and cannot be had.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    known = try_to_load_from_cache(repository, name)
    if isinstance(known, str):
        return Path(known)
    try:
        # One question first: the download's own patience with a hub that does not answer is half a minute.
        get_hf_file_metadata(hf_hub_url(repository, name))
        return Path(hf_hub_download(repository, name))
    except Exception as error:  # the hub client and its transports raise many kinds; each means "not from there"
        raise _missing(purpose, f"{name} of the repository {repository}", error, remedy) from error


def torch_hub_file(url: str, purpose: str, remedy: str) -> Path:
    """A file that torch.hub keeps under the last part of its address, which ends in the start of its SHA-256.

    The file is checked to hold plain weights and nothing that runs: the libraries that read it do not look.

    Raises:
        UserError: it is not there and cannot be had, or it is no weight file.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2], progress=False)
        except Exception as error:  # sockets, TLS, disks and hashes fail in their own ways; each means "not had"
            raise _missing(purpose, f"{url} to {path}", error, remedy) from error
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except (OSError, EOFError, LookupError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} is no file of plain weights: delete it and download {url} again.") from error
    return path


def _missing(purpose: str, what: str, error: Exception, remedy: str) -> UserError:
    return UserError(
        f"the weights of {purpose} are not on this machine and cannot be downloaded ({type(error).__name__}): "
        f"download {what}, or {remedy}."
    )

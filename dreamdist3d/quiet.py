"""Loading models without the remarks their libraries print on the way."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Neither progress bars nor advice from diffusers and transformers on the user's terminal; errors still show."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    with ExitStack() as stack:
        for logging in (diffusers_logging, transformers_logging):
            stack.callback(logging.set_verbosity, logging.get_verbosity())
            logging.set_verbosity_error()
        if transformers_logging.is_progress_bar_enabled():
            transformers_logging.disable_progress_bar()
            stack.callback(transformers_logging.enable_progress_bar)
        yield

"""The commands: each parses, calls one function of the library, and prints where the result is.

Nothing heavy is imported before a command is chosen, so that `--help` answers at once.
"""

import io
import sys
from collections.abc import Callable, Sequence

from tyro.conf import FlagCreatePairsOff
from tyro.extras import SubcommandApp

from dreamdist3d.cli.apprentice import apprentice
from dreamdist3d.cli.assistant import assist, assistant, chat
from dreamdist3d.cli.baselines import baseline
from dreamdist3d.cli.comfyui import comfyui
from dreamdist3d.cli.distributions import convert, inspect, learn, mix, sample
from dreamdist3d.cli.many import batch, status
from dreamdist3d.cli.miniature import mini
from dreamdist3d.cli.road import demo, evaluate, export, launch
from dreamdist3d.cli.synthetic import dataset
from dreamdist3d.cli.threestudio import threestudio
from dreamdist3d.cli.trellis import trellis
from dreamdist3d.cli.weights import backbones, doctor
from dreamdist3d.errors import UserError, clipped, is_out_of_memory, one_line

app = SubcommandApp()
_ABOUT_PROMPTS = (learn, sample, mix, inspect, convert, baseline, dataset)
for _command in (*_ABOUT_PROMPTS, launch, batch, status, export, evaluate, assist, chat, demo, doctor):
    app.command(_command)
app.command(backbones, name="backbones", help="Weights: what exists and is here; convert original checkpoints.")
app.command(apprentice, name="apprentice", help="Instant distributions: clusters, experts, training, evaluation.")
app.command(mini, name="mini", help="The miniature world: train its backbone, render reference images.")
app.command(comfyui, name="comfyui", help="The nodes for ComfyUI: install them, take them out again.")
app.command(trellis, name="trellis", help="The checkout of TRELLIS that system.engine=trellis uses.")
app.command(assistant, name="assistant", help="The assistant for vague wishes: train its miniature model.")
app.command(threestudio, name="threestudio", help="The extension for threestudio: install it, take it out again.")


def main(args: Sequence[str] | None = None) -> int:
    """`dreamdist3d COMMAND ...`: the exit code, 0 when the command did its work."""
    _take_any_terminal()
    return _guarded(lambda: app.cli(prog="dreamdist3d", args=args, config=(FlagCreatePairsOff,)))


def launch_main(args: Sequence[str] | None = None) -> int:
    """`launch.py --config ...`: the same as `dreamdist3d launch --config ...`."""
    return main(["launch", *(sys.argv[1:] if args is None else args)])


def _take_any_terminal() -> None:
    """What a terminal's encoding lacks, such as box lines in cp1252, becomes a question mark instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _guarded(command: Callable[[], None]) -> int:
    """Errors of the user become one line and an exit code; all others are bugs and show where they are."""
    try:
        command()
    except UserError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        # What the machine refuses: memory, a name too long, a file nobody may read, a disk that is gone.
        if is_out_of_memory(error):
            print("error: out of memory; try system.low_vram=true, fewer pixels or a smaller model.", file=sys.stderr)
        elif isinstance(error, OSError):
            where = f": {clipped(str(error.filename))}" if error.filename else ""
            print(f"error: {error.strerror or one_line(error)}{where}", file=sys.stderr)
        else:
            raise
        return UserError.exit_code
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    return 0

"""The recorded dialogue of docs/assistant.md: a picture, nine requests, and what came of them.

python benchmarks/assistant_dialogue.py
"""

from pathlib import Path

import torch
import tyro
from PIL import Image

from dreamdist3d.assistant import Assistant
from dreamdist3d.assistant.showing import lift_of, sheet, write_answer
from dreamdist3d.files import write_atomic, write_text
from dreamdist3d.mini.references import write_references

REQUESTS = (
    "What is this?",
    "Could I have this for a winter scene?",
    "I like the second one but make it purple",
    "a bit darker",
    "with white dots",
    "Make the handle chartreuse",
    "Make it dance",
    "Surprise me",
    "The second one, but make it glossy",
)


def main(out: Path = Path("outputs/dialogue"), picture: Path = Path("docs/pictures/assistant_dialogue.png")) -> None:
    """Write the transcript as Markdown into `out`, and the sheets, one below the other, as one picture.

    Args:
        picture: where the sheets go.
    """
    torch.set_num_threads(1)
    write_references(out, "mug", count=1, seed=12)
    talk = Assistant.of_pictures([out / "mug-00.png"])
    lines, sheets = [], []
    lift = ""
    for turn, request in enumerate(REQUESTS, start=1):
        before = talk.picture
        answer = talk.ask(request)
        paths = write_answer(answer, out / f"turn-{turn}", before)
        lines += [f"> **{request}**", ">", f"> {answer.words}"]
        lines += [f"> {i}. {one.words[:1].upper()}{one.words[1:]}" for i, one in enumerate(answer.proposals, start=1)]
        lines.append("")
        if answer.proposals:
            sheets.append(sheet(answer, before))
            lift = lift_of(answer.proposals[0], paths[0])
    write_text(out / "dialogue.md", "\n".join([*lines, f"`{lift}`", ""]))
    whole = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), "white")
    top = 0
    for one in sheets:
        whole.paste(one, (0, top))
        top += one.height
    write_atomic(picture, whole.save)
    print(out / "dialogue.md")


if __name__ == "__main__":
    tyro.cli(main)

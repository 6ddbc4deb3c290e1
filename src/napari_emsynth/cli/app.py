"""Puts the commands together and turns whatever goes wrong into one line and an exit code."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from napari_emsynth.cli.align import align
from napari_emsynth.cli.batch import batch
from napari_emsynth.cli.detect import detect
from napari_emsynth.cli.evaluate import evaluate
from napari_emsynth.cli.field import field
from napari_emsynth.cli.flags import method_flags, option_flags, option_value, options, spread
from napari_emsynth.cli.groups import Cluster, Common, Save
from napari_emsynth.cli.interpolate import interpolate
from napari_emsynth.cli.methods import methods
from napari_emsynth.cli.patch import patch
from napari_emsynth.cli.run import run
from napari_emsynth.cli.saving import ASKED, NOTHING_LEFT
from napari_emsynth.cli.screen import complain
from napari_emsynth.cli.signals import as_interrupts
from napari_emsynth.cli.superres import superres
from napari_emsynth.cli.train import train
from napari_emsynth.cli.upsample import upsample
from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.methods import INDEX
from napari_emsynth.methods.tasks import options_of
from napari_emsynth.training.options import TrainOptions

BAD_USE = 2
INTERRUPTED = 130
# What typer raises where a group of commands is called without one.
HELP_ASKED = "NoArgsIsHelpError"
# A command that a signal ended exits with this and the signal's number, as shells have it.
SIGNALLED = 128

# typer names only BadParameter; its base class stands for everything that a command line can get wrong.
UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with as_interrupts() as arrived:
        code = _run(words)
    return SIGNALLED + arrived[0] if code == INTERRUPTED and arrived else code


def _run(words: list[str]) -> int:
    """Run the command line, say what went wrong, and return its exit code."""
    code, line = attempt(words)
    if line:
        complain(line)
    return code


def attempt(words: list[str]) -> tuple[int, str]:
    """Run the command line; return its exit code and, whatever goes wrong, the one line that says so."""
    ASKED.set(tuple(words))
    try:
        code = application(words)(words or ["--help"], standalone_mode=False, prog_name="emsynth")
        # typer answers Ctrl-C with this code, and says nothing.
        return _interrupted() if code == INTERRUPTED else (code if isinstance(code, int) else 0, "")
    except UsageError as error:
        if type(error).__name__ == HELP_ASKED:
            print(error.format_message())  # type: ignore[attr-defined]
            return 0, ""
        return BAD_USE, _about_use(error, words)
    except InputError as error:
        return BAD_USE, str(error)
    except OSError as error:
        return BAD_USE, _about_file(error)
    except MemoryError as error:
        said = " ".join(str(error).split()) or "no figure"
        return BAD_USE, f"not enough memory: {said}; try a smaller --tile"
    except Cancelled as left:
        return _interrupted(str(left))
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()


def application(words: Sequence[str]) -> typer.Typer:
    """Return the commands; the flags of a task's command are those of the method that ``words`` ask for.

    Raises:
        InputError: ``words`` ask for an unknown method.
    """
    app = typer.Typer(
        name="emsynth",
        help="Repair volume electron microscopy, with honest error estimates.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    groups = {"common": options(Common), "save": options(Save), "cluster": options(Cluster)}
    app.command()(methods)
    asked = words[0] if words else ""
    own = {}
    if asked in INDEX:
        own = {
            "values": method_flags(asked, option_value(words, "--method")),
            "options": option_flags(options_of(asked)),
        }
    elif asked == "train":
        own = {"options": option_flags(TrainOptions)}
    for command in (interpolate, align, upsample, superres, train, detect, evaluate, run, batch):
        # The flags of the others are made when they are asked for.
        app.command()(spread(command, groups | own if command.__name__ == asked else groups))
    app.add_typer(patch)
    app.add_typer(field)
    return app


def _say_version(asked: bool) -> None:
    if asked:
        from napari_emsynth import __version__

        typer.echo(f"emsynth {__version__}")
        raise typer.Exit


VERSION = typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and stop.")


def _root(version: Annotated[bool, VERSION] = False) -> None:
    """Repair volume electron microscopy, with honest error estimates."""


def _about_use(error: Exception, words: Sequence[str]) -> str:
    """Return what typer says of wrong use, with the value it stumbled on."""
    said = error.format_message().rstrip(".")  # type: ignore[attr-defined]
    option = re.search(r"'(--[a-z-]+)'", said)
    value = option_value(words, option[1]) if option else None
    got = f" (got {value!r})" if value is not None and repr(value) not in said else ""
    return f"{said}{got}; see emsynth --help"


def _about_file(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}; free some space and run again (a Zarr goes on with --resume)"
    return f"{error.strerror or error}{where}"


def _interrupted(left: str = NOTHING_LEFT) -> tuple[int, str]:
    return INTERRUPTED, f"interrupted; {left}"

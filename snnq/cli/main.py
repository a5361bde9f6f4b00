"""The ``snnq`` command: one place where errors, and whatever happens around a command, become messages and exit codes.

Nothing that takes time is imported before ``main`` runs, which sees to it that Ctrl-C is none of an import's business.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

    from snnq.base.errors import SnnqError

# How long another process than the first waits before it reports an error of its own.
FAREWELL_SECONDS = 6.0
INTERRUPTED = 130
# Options that people type and that no command has, and what they are called here.
_CALLED_HERE = {
    "--bits": "at most so many on average: --budget avg-bits=2.2; in every layer: --scheme uniform-2 (of snnq ptq)",
    "--calibration": "samples of post-training quantisation: snnq ptq --samples 256",
    "--checkpoints": "a checkpoint is typed without an option: snnq search CKPT",
    "--dataset": "--data SPEC; snnq data list shows all of them",
    "--output": "--out PATH",
    "--resume": "a run that was cut off goes on when the same command is typed again",
    "--time-steps": "--steps T",
    "--timesteps": "--steps T",
}


def spread_budgets(arguments: list[str]) -> list[str]:
    """Return the words with ``--budget A B`` written as ``--budget A --budget B``, so that several can be typed."""
    spread: list[str] = []
    for word in arguments:
        after = spread[-2:-1] == ["--budget"]
        if after and not word.startswith("-") and re.fullmatch(r"[a-z-]+=[^/]*", word):
            spread.append("--budget")
        spread.append(word)
    return spread


def refuse_foreign_options(arguments: list[str]) -> None:
    """Raise UsageError for an option that other programs have and that is called otherwise here."""
    from snnq.base.errors import UsageError

    for word in arguments[: arguments.index("--") if "--" in arguments else None]:
        own = word.partition("=")[0] == "--bits" and arguments[0] in ("compress", "quantise-activations")
        if not own and (name := word.partition("=")[0]) in _CALLED_HERE:
            raise UsageError(f"there is no option {name}", _CALLED_HERE[name])


def run(arguments: list[str]) -> int:
    """Run one command line; return its exit code. Every error becomes one message, unless SNNQ_DEBUG=1."""
    from snnq import console
    from snnq.base.errors import SnnqError
    from snnq.cli.app import app_for

    _interrupts_are_raised()
    try:
        with console.remarks_shown():
            refuse_foreign_options(arguments)
            app_for(arguments)(spread_budgets(arguments), prog_name="snnq")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except SnnqError as problem:
        if os.environ.get("SNNQ_DEBUG") == "1":
            raise
        return _failed(problem, arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as problem:
        if os.environ.get("SNNQ_DEBUG") == "1":
            raise
        return INTERRUPTED if _of_an_interrupt(problem) else _failed(_known(problem), arguments)
    return 0


def _of_an_interrupt(problem: BaseException | None) -> bool:
    """Return whether an error is what a library made of Ctrl-C, as some do while they are imported."""
    while problem is not None:
        if isinstance(problem, KeyboardInterrupt) or "KeyboardInterrupt" in str(problem):
            return True
        problem = problem.__cause__ or problem.__context__
    return False


def _failed(problem: SnnqError, arguments: list[str]) -> int:
    """Print the error, and after Ctrl-C the command that goes on; return the exit code.

    Where the first process fails too, it says so and ends the others before they do.
    """
    from snnq import console
    from snnq.base.errors import InterruptedRun

    interrupted = isinstance(problem, InterruptedRun)
    if not console.speaks():
        if interrupted:
            return 0  # all processes have stopped; the first one says so
        time.sleep(FAREWELL_SECONDS)
    console.error(problem)
    if interrupted:
        # With --force it would begin anew.
        console.next_step(shlex.join(["snnq", *(word for word in arguments if word != "--force")]))
    return problem.exit_code


def _known(problem: Exception) -> SnnqError:
    """Return the error that the user sees for one that no room foresaw."""
    from snnq.base.errors import SnnqError

    if isinstance(problem, OSError) and problem.strerror:
        where = f"{problem.filename}: " if problem.filename else ""
        return SnnqError(f"{where}{problem.strerror}", "SNNQ_DEBUG=1 shows where")
    if isinstance(problem, MemoryError):
        return SnnqError("there is not enough memory for this", "smaller batches or models take less")
    return SnnqError(f"{type(problem).__name__}: {problem}", "SNNQ_DEBUG=1 shows where; please report it")


def _interrupts_are_raised() -> None:
    """Let Ctrl-C be a KeyboardInterrupt again, and none that Python has to ignore a traceback on stderr."""
    if signal.getsignal(signal.SIGINT) is _leave_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = _unraisable


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise an interrupt that came where nothing can be raised, as in a callback, a moment later."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    else:
        sys.__unraisablehook__(unraisable)


def _leave_at_once(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)


def main() -> None:
    """Run the command line of this process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the shell has said to ignore it
        signal.signal(signal.SIGINT, _leave_at_once)
    from snnq.console.streams import guard_streams, leave

    guard_streams()
    code = run(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rest takes a moment
    sys.exit(leave(code))


if __name__ == "__main__":  # Fabric starts the other processes by it where this one was started so
    main()

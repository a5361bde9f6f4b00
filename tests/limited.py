"""Commands under a limit of memory and time, without an import of torch for each: forked from one process that has it.

A server is started once a session; it holds the imports, has one thread, and forks for every command.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

HANGS = 124  # the exit code of a command that took longer than it may


def run(
    words: list[str],
    folder: Path,
    *,
    memory_mib: int | None = None,
    seconds: float = 20.0,
    environment: Mapping[str, str] | None = None,
    kill_at: int | None = None,
    redirect: str = "",
    file_mib: int | None = None,
) -> tuple[int, str]:
    """Return the exit code of ``snnq`` with these words in ``folder``, and what it printed to stdout and stderr.

    ``memory_mib`` bounds the address space beyond that of the imports; the code is −9 where the system killed it and
    ``HANGS`` where it did not end in time. With ``kill_at`` it is killed before so many file operations; ``redirect``
    takes a shell's words such as ``>&-`` and ``2>/dev/full``; no file may grow beyond ``file_mib``, as on a full disk.
    """
    server = _server()
    with tempfile.NamedTemporaryFile(suffix=".txt") as output:
        asked = {
            "words": words,
            "folder": str(folder),
            "memory_mib": memory_mib,
            "seconds": seconds,
            "output": output.name,
            "kill_at": kill_at,
            "redirect": redirect,
            "file_mib": file_mib,
            "environment": dict(os.environ) | dict(environment or {}),
        }
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return code, Path(output.name).read_text(encoding="utf-8", errors="replace")


PREPARED = (
    *("rich.table", "lightning_fabric", "torch._dynamo", "scipy.optimize", "pandas", "h5py", "safetensors.torch"),
    *("spikingjelly.activation_based.neuron", "snnq.cli.app", "snnq.searching.run", "snnq.finalizing.run"),
    *("snnq.reconstructing.run", "snnq.reporting.run", "snnq.assessing.eval", "snnq.data"),
)


@cache
def _server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    atexit.register(server.communicate)  # closes its input, at which it ends
    return server


def _serve() -> None:
    # They are there before the fork, so that no command imports them anew; numba is not: it looks at the surroundings.
    for name in PREPARED:
        import_module(name)
    import torch

    from snnq.cli.main import run as run_command
    from snnq.console.streams import guard_streams, leave

    torch.set_num_threads(1)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            code = 1
            try:
                _enter(asked)
                guard_streams()
                code = leave(run_command(asked["words"]))
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(_wait(child, asked["seconds"]), flush=True)


def _enter(asked: dict) -> None:
    """Become the command's process: its folder, environment, output and limits."""
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    output = os.open(asked["output"], os.O_WRONLY)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for stream, handle in ((0, nothing), (1, output), (2, output)):
        os.dup2(handle, stream)
    _redirect(asked["redirect"])
    if asked["kill_at"] is not None:
        _kill_at(asked["kill_at"])
    if asked["file_mib"] is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        most = int(asked["file_mib"] * 2**20)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if asked["memory_mib"] is not None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = taken + asked["memory_mib"] * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _redirect(words: str) -> None:
    for word in words.split():
        number, _, target = word.partition(">")
        if target == "&-":
            os.close(int(number or 1))
            setattr(sys, ("stdin", "stdout", "stderr")[int(number or 1)], None)  # as Python starts with it
        else:
            os.dup2(os.open(target, os.O_WRONLY), int(number or 1))


def _kill_at(place: int) -> None:
    """End this process, as kill -9 does, before the file operation of that number."""
    done = 0

    def count(event: str, arguments: tuple) -> None:
        nonlocal done
        changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
        writes = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        if changes or (writes and not str(arguments[0]).startswith("/dev/")):
            done += 1
            if done == place:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def _wait(child: int, seconds: float) -> int:
    def end(number: int, frame: object) -> None:
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    _, status = os.waitpid(child, 0)
    left = signal.setitimer(signal.ITIMER_REAL, 0)[0]
    code = os.waitstatus_to_exitcode(status)
    return HANGS if code == -signal.SIGKILL and left == 0 else code


if __name__ == "__main__":
    _serve()

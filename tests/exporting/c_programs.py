"""Compiling an exported C source into a program that runs frames from its standard input, and reading what it says."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion")
WATCHED = ("-g", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")

# Answers each sample with its whole logits and its class as int64, and writes what fires to standard error.
_MAIN = """
#include <stdio.h>
#include "{name}.h"

static {name}_workspace workspace;
static uint16_t counts[{NAME}_STEPS * {NAME}_CHANNELS * {NAME}_HEIGHT * {NAME}_WIDTH];

#ifdef {NAME}_TRACE
void {name}_trace(int32_t part, int32_t position, const uint8_t *fired, int32_t channels)
{{
    const int32_t about[3] = {{part, position, channels}};
    fwrite(about, sizeof about, 1, stderr);
    fwrite(fired, ({NAME}_STEPS + 7) / 8, (size_t)channels, stderr);
}}
#endif

int main(void)
{{
    int64_t answer[{NAME}_CLASSES + 1];
    while (fread(counts, sizeof counts, 1, stdin) == 1) {{
        answer[{NAME}_CLASSES] = {name}_run(counts, answer, &workspace);
        fwrite(answer, sizeof answer, 1, stdout);
    }}
    return sizeof workspace == {NAME}_RAM_BYTES ? 0 : 3;
}}
"""


@dataclass(frozen=True)
class Program:
    path: Path
    classes: int
    steps: int

    def __call__(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return whole logits int64 (samples, classes) and predictions (samples,) of counts uint16."""
        answers = np.frombuffer(self._run(frames).stdout, np.int64).reshape(len(frames), self.classes + 1)
        return answers[:, :-1], answers[:, -1]

    def spikes(self, frame: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
        """Return what fires in each part for one sample, bool (positions, channels, T) of the given shapes."""
        data = self._run(frame[None]).stderr
        found, seen, at = [np.zeros(shape, bool) for shape in shapes], [0] * len(shapes), 0
        while at < len(data):
            part, position, channels = np.frombuffer(data, np.int32, 3, at)
            fired = np.frombuffer(data, np.uint8, channels * -(-self.steps // 8), at + 12).reshape(channels, -1)
            found[part][position] = np.unpackbits(fired, axis=1, count=self.steps, bitorder="little")
            seen[part] += 1
            at += 12 + fired.size
        assert seen == [shape[0] for shape in shapes]
        return found

    def _run(self, frames: np.ndarray) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run([self.path], input=frames.astype(np.uint16).tobytes(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:].decode(errors="replace")
        return done


def have_gcc() -> bool:
    return shutil.which("gcc") is not None


def build(header: Path, source: Path, classes: int, steps: int, *options: str, trace: bool = False) -> Program:
    """Compile the source strictly and link it with a main program; ``options`` go to gcc."""
    name, place = header.stem, source.parent
    main, program = place / "main.c", place / ("traced" if trace else "program")
    main.write_text(_MAIN.format(name=name, NAME=name.upper()))
    defined = [f"-D{name.upper()}_TRACE"] if trace else []
    compile_c(place, source.name, main.name, "-o", program.name, *(options or ("-O2",)), *defined)
    return Program(program, classes, steps)


def compile_c(place: Path, *arguments: str) -> None:
    """Call gcc in a folder with all warnings as errors."""
    done = subprocess.run(["gcc", *STRICT, *arguments], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]

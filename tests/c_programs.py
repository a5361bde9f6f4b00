"""Compiling an exported C source into a program that runs frames from its standard input, and what it must say."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnq.exporting.c_names import c_name
from snnq.exporting.c_source import CSource, c_source, write_c
from snnq.network.operations import Neuron
from snnq.network.stages import Fire, Mix
from snnq.packed.arrays import open_arrays
from snnq.runtime.reference import Reference, Watch

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion")
WATCHED = ("-g", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")

# Answers each sample, frames of all steps or one image, with its whole logits and its class as int64: after a run, or
# after every step; may write what fires to standard error.
_MAIN = """
#include <stdio.h>
#include <string.h>
#include "{name}.h"

static {name}_workspace workspace;
enum {{ FRAME = {NAME}_CHANNELS * {NAME}_HEIGHT * {NAME}_WIDTH }};
static {kind} given[{frames}][FRAME];
static int traced;

void {name}_trace(int32_t part, int32_t position, const uint8_t *fired, int32_t trains);
void {name}_trace(int32_t part, int32_t position, const uint8_t *fired, int32_t trains)
{{
    const int32_t about[3] = {{part, position, trains}};
    if (!traced)
        return;
    fwrite(about, sizeof about, 1, stderr);
    fwrite(fired, ({steps} + 7) / 8, (size_t)trains, stderr);
}}

int main(int argc, char **argv)
{{
    int64_t answer[{NAME}_CLASSES + 1];
    traced = argc > 1 && strcmp(argv[1], "trace") == 0;
    while (fread(given, sizeof given, 1, stdin) == 1) {{
#ifdef {NAME}_STREAM_BYTES
        static {name}_stream stream;
        const int frames = sizeof given / sizeof *given;
        if (argc > 1 && strcmp(argv[1], "step") == 0) {{
            {name}_begin(&stream);
            for (int step = 0; step < {NAME}_STEPS; step++) {{
                answer[{NAME}_CLASSES] = {name}_step(given[step % frames], answer, &stream);
                fwrite(answer, sizeof answer, 1, stdout);
            }}
            continue;
        }}
        if (sizeof stream != {NAME}_STREAM_BYTES)
            return 4;
#endif
        answer[{NAME}_CLASSES] = {name}_run(given[0], answer, &workspace);
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
    still: bool
    segments: int = 1

    def __call__(self, frames: np.ndarray, mode: str = "run") -> tuple[np.ndarray, np.ndarray]:
        """Return whole logits int64 (samples, classes) and predictions (samples,) of counts; with ``step`` of all."""
        answers = np.frombuffer(self._run(frames, mode).stdout, np.int64).reshape(-1, self.classes + 1)
        return answers[:, :-1], answers[:, -1]

    def spikes(self, frame: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
        """Return what fires in each part for one sample, numbers (positions, T, channels) of the given shapes.

        Positions are those of all its segments.
        """
        data = self._run(frame[None], "trace").stderr
        found, seen, at = [np.zeros(shape, np.int64) for shape in shapes], [0] * len(shapes), 0
        while at < len(data):
            part, position, trains = np.frombuffer(data, np.int32, 3, at)
            fired = np.frombuffer(data, np.uint8, trains * -(-self.steps // 8), at + 12).reshape(trains, -1)
            bits = np.unpackbits(fired, axis=1, count=self.steps, bitorder="little").T.astype(np.int64)
            planes = bits.reshape(self.steps, shapes[part][-1], -1)
            segment = seen[part] // (shapes[part][0] // self.segments) * (shapes[part][0] // self.segments)
            found[part][segment + position] = planes @ (1 << np.arange(planes.shape[-1]))
            seen[part] += 1
            at += 12 + fired.size
        assert seen == [shape[0] for shape in shapes]
        return found

    def _run(self, frames: np.ndarray, mode: str) -> subprocess.CompletedProcess[bytes]:
        bytewise = frames[:, 0] if self.still else frames
        given = (bytewise if frames.dtype == np.uint8 else frames.astype(np.uint16)).tobytes()
        done = subprocess.run([self.path, mode], input=given, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:].decode(errors="replace")
        return done


def have_gcc() -> bool:
    return shutil.which("gcc") is not None


def build(header: Path, source: Path, classes: int, steps: int, *options: str, segments: int = 1) -> Program:
    """Compile the source strictly and link it with a main program; ``options`` go to gcc.

    ``steps`` are those of a pass: of one of the ``segments``.
    """
    name, place, text = header.stem, source.parent, header.read_text()
    still = "const uint8_t *image" in text
    kind = "uint8_t" if still or "const uint8_t *clip" in text else "uint16_t"
    frames = 1 if still else f"{name.upper()}_STEPS"
    told = {"name": name, "NAME": name.upper(), "kind": kind, "frames": frames, "steps": steps}
    (place / "test.c").write_text(_MAIN.format(**told))
    compile_c(place, source.name, "test.c", "-o", "program", "-O1", *options, f"-D{name.upper()}_TRACE")
    return Program(place / "program", classes, steps, still, segments)


def compile_c(place: Path, *arguments: str) -> None:
    """Call gcc in a folder with all warnings as errors."""
    done = subprocess.run(["gcc", *STRICT, *arguments], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]


class WholeReference(Reference):
    """The numpy reference up to its whole logits without the bias, int64 (B, classes)."""

    def __call__(self, frames: np.ndarray, watch: Watch | None = None) -> np.ndarray:
        head = self.arrays.head()
        return head.whole_logits(self.advance(frames, None, watch)) - head.bias


def c_agrees(folder: Path, place: Path, frames: np.ndarray, *options: str) -> tuple[CSource, list[np.ndarray]]:
    """Check a folder's C source: every whole logit, after every step, too, and all spikes, of counts (B, T, C, H, W).

    Bytes of images, the same at every step, are uint8. They must be the numpy reference's. Return the source and the
    spikes, bool or numbers (B, positions, T, channels).
    """
    arrays, reference, due = open_arrays(folder), WholeReference(folder), {}
    if arrays.config.quantization_config.pixels is None:
        frames = frames.astype(np.int64)  # the reference cuts off counts past the limit
    whole = reference(frames, lambda name, spikes: due.__setitem__(name, spikes))
    head, source = arrays.head(), c_source(arrays, c_name(folder.name))
    graph = arrays.wiring.graph
    segments = graph.steps // (graph.segment or graph.steps)
    built = write_c(source, place)
    program = build(*built, len(head.bias), graph.pass_steps, *options, segments=segments)
    logits, predictions = program(frames)
    assert np.array_equal(logits, whole + head.bias)
    assert np.array_equal(predictions, logits.argmax(1))
    ordered = [due[name] for name in parts(arrays.wiring.flow)]
    ordered = [one.reshape(len(frames), -1, *one.shape[2:]) for one in ordered]  # its segments behind one another
    for sample in range(len(frames)):
        found = program.spikes(frames[sample], [one.shape[1:] for one in ordered])
        for part, (one, spikes) in enumerate(zip(found, ordered, strict=True)):
            assert np.array_equal(one, spikes[sample]), (sample, part)
    if source.stream_ram is not None:
        _steps_agree(program, reference, frames, logits)
    return source, ordered


def _steps_agree(program: Program, reference: WholeReference, frames: np.ndarray, whole: np.ndarray) -> None:
    steps, bias = program.steps, reference.arrays.head().bias
    logits, predictions = program(frames, "step")
    by_step = logits.reshape(len(frames), steps, -1)
    assert np.array_equal(by_step[:, -1], whole)
    assert np.array_equal(predictions, logits.argmax(1))
    for step in {1, steps // 2 + 1}:  # the mean of the first steps: its sums, and as much of the bias
        each = np.sign(bias) * (np.abs(bias) // steps)
        part = each * step + np.trunc((bias - each * steps) * step / steps).astype(np.int64)
        assert np.array_equal(by_step[:, step - 1], reference(frames[:, :step]) + part)


def parts(flow: tuple[object, ...]) -> list[str]:
    """Return the paths of a flow's neurons, in the order they run."""
    found = []
    for one in flow:
        if isinstance(one, Fire):
            found += [stage.neuron for stage in one.stages]
        elif isinstance(one, Mix | Neuron):
            found.append(one.fires.neuron if isinstance(one, Mix) else one.neuron)
    return found

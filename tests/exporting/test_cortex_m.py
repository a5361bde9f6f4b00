"""The C source, compiled for ARM Cortex-M and run under qemu's user mode: the same whole logits, run or step by step.

Needs arm-none-eabi-gcc with newlib, for the memory functions, and qemu-arm. That emulates a Linux process, so the test
program calls Linux; all other instructions are those of the microcontroller.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_programs import STRICT, WholeReference
from lively import write_lively
from small_architectures import small

from snnq.exporting.c_source import c_source, write_c
from snnq.packed.arrays import open_arrays

GCC, QEMU = "arm-none-eabi-gcc", "qemu-arm"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which(GCC) and shutil.which(QEMU)), reason=f"there is no {GCC}, or no {QEMU}"),
]

_MAIN = """
#include <stddef.h>
#include "net.h"

enum { FRAME = NET_CHANNELS * NET_HEIGHT * NET_WIDTH };
static net_workspace workspace;
static net_stream stream;
static uint16_t counts[NET_STEPS * FRAME];
static int64_t answer[NET_CLASSES + 1];

static long linux_call(long number, long first, const void *second, long third)
{
    register long r7 __asm__("r7") = number;
    register long r0 __asm__("r0") = first;
    register const void *r1 __asm__("r1") = second;
    register long r2 __asm__("r2") = third;
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2) : "memory");
    return r0;
}

static int filled(void)
{
    long got = 0, more = 1;
    while (got < (long)sizeof counts && more > 0) {
        more = linux_call(3, 0, (char *)counts + got, (long)sizeof counts - got);
        got += more;
    }
    return got == (long)sizeof counts;
}

void _start(void);
void _start(void)
{
    while (filled()) {
        answer[NET_CLASSES] = net_run(counts, answer, &workspace);
        linux_call(4, 1, answer, sizeof answer);
        net_begin(&stream);
        for (int step = 0; step < NET_STEPS; step++)
            answer[NET_CLASSES] = net_step(counts + step * FRAME, answer, &stream);
        linux_call(4, 1, answer, sizeof answer);
    }
    linux_call(1, 0, NULL, 0);
}
"""


@pytest.mark.parametrize("chip", ["cortex-m0", "cortex-m4"])
@pytest.mark.parametrize("name", ["spikformer-cifar10dvs", "sdt-dvs", "qkformer-dvs", "maxformer-event"])
def test_it_computes_the_same(name: str, chip: str, tmp_path: Path) -> None:
    one, sizes = small(name)
    frames = write_lively(tmp_path / "packed", ["uniform-3", "power-of-two-4", "float32"], one, **sizes)
    arrays = open_arrays(tmp_path / "packed")
    write_c(c_source(arrays, "net"), tmp_path)
    (tmp_path / "bare.c").write_text(_MAIN)
    built = (f"-mcpu={chip}", "-mthumb", "-Os", "-nostartfiles", "-Wl,-Ttext=0x20000", "-o", "bare.elf")
    for words in ((*STRICT, "-c", "net.c"), ("-std=gnu99", "net.o", "bare.c")):
        more = built if words[-1] == "bare.c" else built[:3]
        done = subprocess.run([GCC, *words, *more], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    given = frames.astype("<u2").tobytes()
    said = subprocess.run([QEMU, "bare.elf"], cwd=tmp_path, input=given, capture_output=True, check=True, timeout=120)
    due = WholeReference(tmp_path / "packed")(frames) + arrays.head().bias
    answers = np.frombuffer(said.stdout, "<i8").reshape(len(frames), 2, -1)
    for way in range(2):
        assert np.array_equal(answers[:, way, :-1], due)
        assert np.array_equal(answers[:, way, -1], due.argmax(1))

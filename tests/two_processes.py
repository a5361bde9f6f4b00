"""Runs a function of a test module in two processes that work together, on the CPU.

They are forked from a server that has imported the libraries once.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

multiprocessing.set_forkserver_preload(["snnq.searching.run", "snnq.finalizing.run"])


def in_two(work, *arguments):
    """Return what ``work(*arguments)`` returned in process 0 and in process 1; it must be a module's function."""
    with tempfile.TemporaryDirectory() as folder:
        given = (folder, dict(os.environ), work, arguments)
        start_processes(_begin, given, nprocs=2, start_method="forkserver")
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(2)]


def _begin(rank, folder, environment, work, arguments):
    os.environ |= environment  # the server has that of its start
    torch.set_num_threads(1)
    os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}  # so that Fabric starts no others
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(work(*arguments), Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()

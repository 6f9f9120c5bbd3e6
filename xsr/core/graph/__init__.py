"""The room where Dask lives: windows of blocks, several dates, tasks for chunks, and sums. Nothing else knows it."""

from xsr.core.graph.frames import Frames, run_frames
from xsr.core.graph.notices import watch
from xsr.core.graph.reductions import Job, Reduction, reduce_windows
from xsr.core.graph.tasks import BlockKey, BlockTasks, block_tasks, compute, threads_each, together
from xsr.core.graph.windows import Block, Plan, make_plan, run

__all__ = [
    "Block",
    "BlockKey",
    "BlockTasks",
    "Frames",
    "Job",
    "Plan",
    "Reduction",
    "block_tasks",
    "compute",
    "make_plan",
    "reduce_windows",
    "run",
    "run_frames",
    "threads_each",
    "together",
    "watch",
]

"""All that knows Dask: blocks from their windows at one date or several, sums over blocks, tasks that write blocks."""

from xsr.core.graph.cluster import loaded, together
from xsr.core.graph.constant import constant_images
from xsr.core.graph.contents import Contents, contents
from xsr.core.graph.driver import each, numbered, placeholder, standin
from xsr.core.graph.notices import watch
from xsr.core.graph.portions import BlockKey, BlockTasks, block_tasks
from xsr.core.graph.reductions import Job, Reduction, reduce_windows
from xsr.core.graph.schedulers import in_threads, side_by_side, threads_each
from xsr.core.graph.tasks import compute
from xsr.core.graph.windows import Block, Fetch, Frames, Plan, make_plan, run, run_frames, run_here, task_of

__all__ = [
    "Block",
    "BlockKey",
    "BlockTasks",
    "Contents",
    "Fetch",
    "Frames",
    "Job",
    "Plan",
    "Reduction",
    "block_tasks",
    "compute",
    "constant_images",
    "contents",
    "each",
    "in_threads",
    "loaded",
    "make_plan",
    "numbered",
    "placeholder",
    "reduce_windows",
    "run",
    "run_frames",
    "run_here",
    "side_by_side",
    "standin",
    "task_of",
    "threads_each",
    "together",
    "watch",
]

"""Block tasks: every chunk of an array handed to a function that does something with it, such as writing it down.

They run portion by portion on the active scheduler or cluster. Results and errors are reported block by block.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from xsr.core.graph.cluster import active_client, compute_on_cluster, threads_there
from xsr.core.graph.portions import BlockKey, BlockTasks, ahead, portions
from xsr.core.graph.schedulers import Report, compute_here, threads_here
from xsr.core.progress import bar

Done = Callable[[BlockKey, Any], None]
"""Called once for every task that went well, with what its function returned, in the thread that computes."""
Failed = Callable[[BlockKey, Exception], None]
"""Called once for every task that failed, with its error, in the thread that computes."""


def compute(tasks: Sequence[BlockTasks], *, progress: bool, done: Done, failed: Failed | None = None) -> None:
    """Compute block tasks on the active scheduler or cluster, with a progress bar over their blocks.

    When this returns or raises, no task is running any more.

    Parameters
    ----------
    tasks
        From `block_tasks`, of one or more arrays.
    progress
        Show a progress bar.
    done
        Called with the result of every task as it comes. What it raises ends the computation.
    failed
        Without it the first error ends the computation. With it a block whose task, or a task it needs, fails twice,
        the second time alone, is reported, and the others are computed. What it raises ends the computation.

    Notes
    -----
    A task that lacked memory beside others is computed once more, alone, with ``failed`` or without.
    """
    tasks = [part for part in tasks if len(part)]
    if not tasks:
        return
    with bar("writing blocks", sum(map(len, tasks)), shown=progress) as advance:
        report = Report(done, failed, advance)
        client = active_client()
        threads = threads_here() if client is None else threads_there(client)
        with closing(ahead(portions(tasks, threads))) as prepared:
            if client is None:
                compute_here(prepared, report)
            else:
                compute_on_cluster(client, prepared, report)

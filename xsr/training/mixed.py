"""Mixed precision of training: bfloat16 where it is fast, float32 where a processor would imitate it slowly."""

import torch

from xsr.models.precision import resolve_precision


def mixed(device: str | torch.device) -> torch.autocast:
    """Context in which networks are evaluated in training."""
    where = torch.device(device).type
    fast = resolve_precision("auto", residual=True, device=where) == "bfloat16"
    return torch.autocast(where, torch.bfloat16, enabled=fast)

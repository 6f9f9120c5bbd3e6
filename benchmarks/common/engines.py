"""Networks in other engines."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HINTS = {"float32": "f32", "bfloat16": "bf16"}


def in_openvino(model: Path, images: NDArray[np.float32]) -> dict[str, Callable[[], Any]]:
    """Make what evaluates a network of ONNX on images, on one thread, by precision; nothing without OpenVINO."""
    if not find_spec("openvino"):
        return {}
    import openvino

    found = openvino.Core().read_model(model)
    found.reshape(images.shape)
    runs: dict[str, Callable[[], Any]] = {}
    for precision, hint in HINTS.items():
        options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
        request = openvino.Core().compile_model(found, "CPU", options).create_infer_request()
        runs[precision] = partial(request.infer, {0: images})
    return runs

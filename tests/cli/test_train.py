"""The progress line of `xsr train`."""

import pytest

from xsr.cli.train import _Report
from xsr.training.loop import Progress


def test_the_gain_is_of_summed_losses(capsys: pytest.CaptureFixture[str]) -> None:
    """A batch of patches of one value has no error of interpolation; it must not outweigh all others."""
    report = _Report()
    for step in range(1, 101):
        flat = step == 50
        report(Progress(step, step / 1000, 1e-3 if flat else 0.05, 0.0 if flat else 0.1))
    assert "step 100, 10%, error +6.02 dB below bicubic" in "".join(capsys.readouterr())

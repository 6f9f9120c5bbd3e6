import pytest

from xsr.core.errors import ParameterError
from xsr.models import precision
from xsr.models.precision import native_bfloat16, resolve_precision

NATIVE = native_bfloat16  # the session replaces it in the module


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 sse", True),
        ("flags : amx_tile amx_bf16", True),
        ("flags : avx512f avx512bw", False),
        ("Features : fp asimd bf16", False),
        ("bugs : avx512_bf16", False),
        ("", False),
    ],
)
def test_flags_of_the_processor(tmp_path, monkeypatch, flags, wanted):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr("sys.platform", "linux")
    assert NATIVE(path) is wanted


def test_unknown_platforms_have_none(tmp_path, monkeypatch):
    assert NATIVE(tmp_path / "missing") is False
    path = tmp_path / "cpuinfo"
    path.write_text("flags : avx512_bf16\n")
    monkeypatch.setattr("sys.platform", "darwin")
    assert NATIVE(path) is False


@pytest.mark.parametrize(
    ("asked", "residual", "device", "native", "wanted"),
    [
        ("auto", True, "cpu", True, "bfloat16"),
        ("auto", True, "auto", True, "bfloat16"),
        ("auto", True, "cpu", False, "float32"),
        ("auto", False, "cpu", True, "float32"),
        ("auto", True, "cuda:1", False, "bfloat16"),
        ("auto", False, "cuda", False, "float32"),
        ("bfloat16", False, "cpu", False, "bfloat16"),
        ("float32", True, "cuda", True, "float32"),
    ],
)
def test_auto(monkeypatch, asked, residual, device, native, wanted):
    monkeypatch.setattr(precision, "native_bfloat16", lambda: native)
    assert resolve_precision(asked, residual=residual, device=device) == wanted


def test_unknown_precision():
    with pytest.raises(ParameterError, match="precision='half'; expected one of auto, float32, bfloat16"):
        resolve_precision("half", residual=True, device="cpu")

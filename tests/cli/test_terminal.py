import io
import warnings

import pytest
from rich.console import Console

from xsr.cli import terminal
from xsr.core.errors import XsrWarning
from xsr.core.text import printable

HOSTILE = "B02\x1b[31mred\x1b]0;title\x07[bold]x[/bold] :smile: a\rb\u202ec\x9b2J\udcff"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain × – σ text", "plain × – σ text"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\u202eevil", r"\u202eevil"),
        ("\udcff", r"\udcff"),
        ("[red]", "[red]"),
        (5, "5"),
    ],
)
def test_what_a_terminal_would_interpret_is_written_as_an_escape(text, expected):
    assert printable(text) == expected
    assert printable(printable(text)) == expected


@pytest.fixture
def screen(monkeypatch):
    """Console of a terminal with colours, and what it was sent."""
    sent = io.StringIO()
    console = Console(file=sent, force_terminal=True, width=200, emoji=False, color_system="truecolor")
    monkeypatch.setattr(terminal, "console", console)
    return sent


def test_a_line_is_sent_as_text(screen):
    terminal.say(HOSTILE)
    assert screen.getvalue().rstrip("\n") == printable(HOSTILE)


def test_lines_and_cells_are_sent_as_text(screen):
    terminal.say_lines({"bands": HOSTILE.replace("\r", "")})
    table = terminal.make_table("name[red]", "value")
    terminal.add_row(table, "cell\x1b[31m[green]x", 1)
    terminal.console.print(table)
    sent = screen.getvalue()
    for part in ("\\x1b[31mred", "[bold]x[/bold]", ":smile:", "name[red]", "cell\\x1b[31m[green]x"):
        assert part in sent
    assert "\x1b[31m" not in sent
    assert "\x1b]0" not in sent


def test_errors_are_one_line_of_text(capsys):
    terminal.complain("error", "bad\n[red]\x1b[2J")
    assert capsys.readouterr().err == "error: bad\\n[red]\\x1b[2J\n"


@pytest.mark.filterwarnings("always")
def test_warnings_of_xsr_are_lines_in_the_words_of_the_command(capsys):
    with terminal.warnings_shown(lambda text: text.replace("units=", "--units")):
        warnings.warn("Far beyond reflectance: pass units=.", XsrWarning, stacklevel=1)
        with pytest.warns(RuntimeWarning, match="of another library"):
            warnings.warn("of another library", RuntimeWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: Far beyond reflectance: pass --units.\n"


def test_columns_that_do_not_wrap_are_whole_in_a_narrow_terminal():
    sent = io.StringIO()
    table = terminal.make_table("model", "bands", "licence", wrapped=["bands"])
    name = "a_model_of_a_rather_long_name_x64g4sw"
    terminal.add_row(table, name, " ".join(f"B{n:02d}" for n in range(13)), "CC-BY-NC-4.0")
    Console(file=sent, width=80).print(table)
    assert name in sent.getvalue()
    assert "CC-BY-NC-4.0" in sent.getvalue()
    assert "…" not in sent.getvalue()
    assert max(map(len, sent.getvalue().splitlines())) <= 80


def test_warnings_of_others_are_text_too(monkeypatch):
    sent = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *place: sent.append(message))
    with warnings.catch_warnings(), terminal.warnings_shown(str):
        warnings.simplefilter("always")
        warnings.warn(f"attribute {HOSTILE}", RuntimeWarning, stacklevel=1)
    assert sent == [f"attribute {printable(HOSTILE)}"]

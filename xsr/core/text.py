"""Text from files, made safe to show: nothing in it moves the cursor, changes colours or hides other text."""

from reprlib import Repr


def printable(text: object) -> str:
    r"""Text with every character that a terminal would not show as itself written as an escape.

    Parameters
    ----------
    text
        Anything; as text.

    Examples
    --------
    >>> print(printable("B02\x1b[31m\n×"))
    B02\x1b[31m\n×
    """
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode("ascii") for one in str(text)
    )


def brief(value: object) -> str:
    """Representation of a value on a short line, whatever its size.

    Examples
    --------
    >>> brief(list(range(1000)))
    '[0, 1, 2, 3, ...]'
    """
    return _short.repr(value)


class _Short(Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 2, 80, 80
        self.maxlist, self.maxtuple, self.maxdict = 4, 4, 8

    def repr_int(self, x: int, level: int) -> str:
        """Digits of a number, if there are few: Python refuses to write very many."""
        return repr(x) if x.bit_length() < 128 else f"a number of {x.bit_length()} bits"


_short = _Short()

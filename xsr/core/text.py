"""Text from files, made safe to show: nothing in it moves the cursor, changes colours or hides other text."""


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

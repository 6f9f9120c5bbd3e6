"""Messages in the words of the command: ``--overwrite`` where Python says ``overwrite=True``.

The library names arguments as Python writes them, ``name=value``. At the boundary of the command each becomes the
option of the running command that stands for it, or an option of the reader (``--open name=value``). Advice that is
code and has no option is left out; what was given and what is expected always stays.
"""

import ast
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

OPENING = "while an input was opened: "
"""Begin of a note on an error of a reader: the arguments that it names are the reader's. What follows begins the names
of the parameters that say how this input is opened."""
VALUE = r"""'[^']*'|"[^"]*"|\[[^\]]*\]|\{[^}]*\}|\((?:[^()]|\([^()]*\))*\)|\.\.\.|[\w+\-:/]+(?:\.\w+)*"""
ARGUMENT = re.compile(
    rf"(?<!-open )(?<!-dim )(?<!-band-names )(?<![\w?&/.,\-'\"])(?P<name>[a-z][a-z_]*)=(?!=)(?P<value>{VALUE})?"
)
"""An argument with or without a value; not the query of a URL, nor a variable of the environment."""
CODE = re.compile(r"\.\w+\(|\b(?:xsr|xarray|ds|cube)\.\w+|\w+\([^)]*=|\bcube\[\[|`")
"""What is Python and no option."""
SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
CLAUSES = re.compile(r"(;\s+|,\s+or\s+|,\s+and\s+|,\s+for example\s+)")
IMPERATIVES = ("add ", "choose ", "drop ", "give ", "leave ", "name ", "open ", "pass ", "select ", "use ")
CALL = re.compile(r"\b[a-z_.]+\((?=[^()]*=)[^()]*\)")
"""A call with arguments; its arguments are not those of the command."""
REPEATED = re.compile(r"(--[\w-]+)(?: \S+)? \((?:xsr run )?\1\)")
"""An option whose flag the message names in brackets as well."""
OPTION_CODE = (
    (re.compile(r"\.rename\((?:\{)?['\"]?(\w+)['\"]?\s*[=:]\s*['\"](\w+)['\"]\}?\)"), "dims", r"{} \1=\2"),
    (re.compile(r"\.assign_coords\(band=\[[^\]]*\]\)"), "band_names", "{} B02,B03,..."),
    (re.compile(r"\.(?:odc\.assign_crs|rio\.write_crs)\([^)]*\)"), "crs", "{}"),
)
"""Code that an option stands for, by the argument of the command."""
COMMANDS = re.compile(r"\bcube\.sr\.(native)\(\)")
"""Code that a command of its own stands for."""


@dataclass(frozen=True)
class Words:
    """Options of the running command, by the names that the library gives to its arguments."""

    flags: Mapping[str, str]
    """Option of each argument, such as ``--overwrite``."""
    off: Mapping[str, str] = field(default_factory=dict)
    """Option that sets a switch to False, such as ``--no-fill``."""
    switches: Collection[str] = ()
    """Arguments that are switches."""
    reader: Collection[str] = ()
    """Arguments of readers, which `opener` passes."""
    opener: str = "--open"
    """Option that passes arguments to the reader."""

    def reword(self, message: str) -> str:
        """Message in the words of the command.

        Examples
        --------
        >>> words = Words({"overwrite": "--overwrite"}, switches=("overwrite",))
        >>> words.reword("a.zarr exists. Choose another path, or pass overwrite=True. Use .chunk(y=4).")
        'a.zarr exists. Choose another path, or pass --overwrite.'
        """
        for pattern, name, typed in OPTION_CODE:
            if name in self.flags:
                message = pattern.sub(typed.format(self.flags[name]), message)
        message = COMMANDS.sub(r"xsr \1", message)
        message = CALL.sub("`code`", message)
        message = REPEATED.sub(r"\1", ARGUMENT.sub(self._option, message))
        first, *rest = SENTENCES.split(message)
        return " ".join([_facts(first), *filter(None, map(_advice, rest))])

    def _option(self, match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        if name == "bands" and value is not None and value.startswith("{") and "band_names" in self.flags:
            return f"{self.flags['band_names']} {_plain(value)}".rstrip()
        if name in self.flags:
            return self._flag(name, value)
        if name in self.reader:
            return f"{self.opener} {name}={'...' if value is None else _plain(value)}"
        return match[0]

    def _flag(self, name: str, value: str | None) -> str:
        flag = self.flags[name]
        if value is None or value == "...":
            return flag
        if value == "False" and name in self.off:
            return self.off[name]
        if name in self.switches or value in ("None", "False"):
            return flag if value == "True" else f"no {flag}"
        return f"{flag} {_plain(value)}"


def _facts(sentence: str) -> str:
    """First sentence: what was given and is expected stays, apart from code; arguments become words."""
    parts = CLAUSES.split(sentence)
    kept = parts[0]
    for joint, clause in zip(parts[1::2], parts[2::2], strict=True):
        if clause.startswith("expected"):
            kept += joint + ", ".join(item for item in clause.split(", ") if not CODE.search(item) or item == clause)
        elif not CODE.search(clause):
            kept += joint + clause
    kept = kept if kept.endswith((".", "?")) else f"{kept}."
    return ARGUMENT.sub(lambda match: f"{match['name']} {match['value'] or ''}".strip(), kept)


def _advice(sentence: str) -> str:
    """Advice without the ways that are code; empty if no other is left."""
    parts = CLAUSES.split(sentence)
    ways = list(zip(["", *parts[1::2]], parts[::2], strict=True))
    kept = [(joint, clause) for joint, clause in ways if not _is_code(clause)]
    if kept and kept[0] != ways[0]:  # what goes on from code is no sentence of its own, unless it says what to do
        kept = kept if kept[0][1].startswith(("--", *IMPERATIVES)) else []
    if not kept:
        return ""
    first = f"pass {kept[0][1]}" if kept[0][1].startswith("--") else kept[0][1]
    text = first[:1].upper() + first[1:] + "".join(joint + clause for joint, clause in kept[1:])
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _is_code(clause: str) -> bool:
    """Whether a clause holds Python that no option stands for."""
    bare = re.sub(r"--(guide-)?open [a-z_]+=\S+", "", clause)
    return CODE.search(bare) is not None or ARGUMENT.search(bare) is not None


def _plain(value: str) -> str:
    """Value as it is typed in a shell: without quotes and brackets."""
    try:
        known: Any = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return "" if value[:1] in "{[(" else value
    if known is ...:
        return "..."
    if isinstance(known, dict):
        return ",".join(f"{key}={'...' if one is ... else one}" for key, one in known.items())
    if isinstance(known, list | tuple | set):
        return ",".join(str(one) for one in known)
    return str(known).lower() if isinstance(known, bool) else str(known)

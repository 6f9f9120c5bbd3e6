"""YAML as cards use it: a mapping of names to numbers, texts and lists, and nothing that unfolds."""

from typing import Any

DEEPEST = 8
"""Collections in collections."""


def load(text: str) -> Any:
    """Read a document.

    Anchors, aliases and tags are refused: a card needs none, and a few lines of them unfold to any size.

    Raises
    ------
    ValueError
        If it is not YAML, or holds one of these.
    """
    import yaml

    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            _check(event, depth)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ArithmeticError) as error:
        raise ValueError(str(error)) from error


def _check(event: Any, depth: int) -> None:
    """Refuse what a card has no need of."""
    if getattr(event, "anchor", None) is not None:  # an alias has it, too
        raise ValueError(f"anchor {event.anchor!r}; expected no anchors and aliases")
    if getattr(event, "tag", None) is not None:
        raise ValueError(f"tag {event.tag!r}; expected no tags")
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} collections in one another; expected a mapping of numbers, texts, lists")

"""A user's item, whose fields are merged into that of a result where the result does not decide them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xsr.core.errors import ParameterError

if TYPE_CHECKING:
    import pystac

TemplateLike: TypeAlias = "Mapping[str, Any] | pystac.Item | str | Path | None"
"""An item, or part of one: of pystac, as a dictionary, or the path of a JSON file; None is none."""
OF_THE_RESULT = ("geometry", "bbox")
IN_PROPERTIES = ("proj:", "datetime", "start_datetime", "end_datetime", "processing:software", "platform", "xsr:")
"""Beginnings of the properties that the result decides."""
KINDS: dict[str, type | tuple[type, ...]] = {
    **{"id": str, "collection": str, "stac_version": str, "properties": dict, "assets": dict},
    **{"links": list, "stac_extensions": list, "geometry": (dict, type(None)), "bbox": (list, type(None))},
}
"""Fields of an item, and their types."""
FIT = "A template gives what the result does not know: title, licence, providers, collection. Leave the field out."


def read_template(given: TemplateLike) -> dict[str, Any]:
    """Template as a dictionary.

    Raises
    ------
    ParameterError
        If it is no item, or part of one.
    """
    import pystac

    if given is None:
        return {}
    if isinstance(given, pystac.Item):
        return given.to_dict(include_self_link=False, transform_hrefs=False)
    if isinstance(given, str | Path):
        try:
            given = json.loads(Path(given).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ParameterError(
                f"template {given} cannot be read: {error}; expected a STAC item as JSON. Check the path."
            ) from error
    if not isinstance(given, Mapping):
        raise ParameterError(
            f"template={given!r:.80}; expected a STAC item, its fields as a dictionary, or the path of a JSON file."
        )
    _check(given)
    return dict(given)


def _check(template: Mapping[str, Any]) -> None:
    kind = template.get("type", "Feature")
    if kind != "Feature":
        raise ParameterError(
            f"the template has the type {kind!r}; expected an item ('Feature'). Take one of its items."
        )
    for name, value in template.items():
        if name != "type" and not isinstance(value, KINDS.get(str(name), object)):
            kinds = KINDS[str(name)]
            expected = " or ".join(one.__name__ for one in (kinds if isinstance(kinds, tuple) else (kinds,)))
            raise ParameterError(f"the template has {name}={value!r:.60}; expected {expected}. Correct it.")
    if str(template.get("stac_version", "1")).partition(".")[0] != "1":
        raise ParameterError(f"the template has stac_version {template['stac_version']!r}; expected 1.1.0 or 1.0.0.")


def merged(item: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """Item with the fields of a template beside its own.

    Raises
    ------
    ParameterError
        If the template states something else than the result.
    """
    found = {name: value for name, value in template.items() if name not in ("type", "stac_version")}
    for name in OF_THE_RESULT:
        _require_same(name, found.pop(name, None), item[name])
    given, own = dict(found.pop("properties", {})), item["properties"]
    for name, value in given.items():
        if name in own and str(name).startswith(IN_PROPERTIES):
            _require_same(str(name), value, own[name])
        elif str(name).startswith(("proj:", "xsr:")):
            raise ParameterError(f"the template states {name}={value!r:.60}, which the result has not. {FIT}")
    assets = found.pop("assets", {})
    taken = sorted(set(assets) & set(item["assets"]))
    if taken:
        raise ParameterError(f"the template has an asset {taken[0]!r}, the name of the result's own. Rename it.")
    extensions = [*item["stac_extensions"], *found.pop("stac_extensions", [])]
    return {
        **item,
        **found,
        "properties": {**own, **{name: value for name, value in given.items() if value is not None}},
        "assets": {**item["assets"], **assets},
        "links": [*item["links"], *found.pop("links", [])],
        "stac_extensions": list(dict.fromkeys(extensions)),
    }


def _require_same(name: str, given: Any, own: Any) -> None:
    if given is not None and given != own:
        raise ParameterError(
            f"the template does not fit: it states {name}={given!r:.80}, the result has {own!r:.80}. {FIT}"
        )

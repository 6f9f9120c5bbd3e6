"""Items from whatever holds them: paths, dictionaries, objects of pystac and of pystac-client, or a mixture."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xsr.core.errors import ParameterError, cause
from xsr.core.redact import scrub
from xsr.sources.stac.origin import is_remote, mark

if TYPE_CHECKING:
    import pystac

ItemsLike: TypeAlias = Any
"""One item, several, an ItemCollection, FeatureCollection, catalog, search of pystac-client, dictionary or path; or any
iterable of these."""


UNREADABLE = (ValueError, TypeError, AttributeError, RecursionError)
"""What pystac raises about fields that are not as STAC has them."""


def read_items(items: ItemsLike, *, trust: bool = False) -> "list[pystac.Item]":
    """Read all items that an object holds.

    Parameters
    ----------
    items
        The object.
    trust
        Follow the links of a catalogue wherever they lead; see `xsr.sources.stac.origin`.

    Raises
    ------
    ParameterError
        If it cannot be read as STAC, or a search fails.
    """
    import pystac
    from pystac_client.exceptions import APIError

    try:
        return _read(items, trust=trust)
    except ParameterError:
        raise
    except (OSError, APIError, pystac.STACError, pystac.STACTypeError, LookupError, *UNREADABLE) as error:
        raise ParameterError(
            f"{name(items)} cannot be read as STAC: {why(error, items)}. Check the address."
        ) from cause(error, items)


def why(error: BaseException, given: object) -> str:
    """Text of an error of pystac, or of the one of ours that it came from, without the secrets of an address given."""
    first = error.__cause__ if isinstance(error.__cause__, ParameterError) else error
    return scrub(str(first), given).rstrip(".")


def name(items: ItemsLike) -> str:
    """Name a holder of items in a message."""
    return str(items) if isinstance(items, str | Path) else "the items"


def _read(items: ItemsLike, *, trust: bool = False) -> "list[pystac.Item]":
    import pystac

    if isinstance(items, pystac.Item):
        _check_texts(items)
        return [items]
    if isinstance(items, str | Path):
        return _read_path(str(items), trust=trust)
    if isinstance(items, Mapping):
        return _read_mapping(items)
    if isinstance(items, pystac.Catalog):
        return _read_catalog(items)
    if callable(getattr(items, "items", None)):  # a search of pystac-client
        return list(items.items())
    if isinstance(items, Iterable) and not isinstance(items, bytes):
        return [item for one in items for item in _read(one, trust=trust)]
    raise ParameterError(
        f"the items hold {type(items).__name__}; expected items of pystac, dictionaries, a search of pystac-client, a"
        " catalog or paths. Pass one of them."
    )


def _check_texts(item: "pystac.Item") -> None:
    """Refuse an item that has something else where others have names; pystac takes what it is given."""
    named: dict[str, Any] = {"id": item.id, "collection": item.collection_id or ""}
    for key, asset in item.assets.items():
        named |= {f"href of asset {key!r}": asset.href, f"type of asset {key!r}": asset.media_type or ""}
        roles: Any = asset.roles or []
        listed = roles if isinstance(roles, list) else [roles]
        named |= {f"roles[{number}] of asset {key!r}": role for number, role in enumerate(listed)}
    for what, text in named.items():
        if not isinstance(text, str):
            raise ParameterError(f"an item has the {what} {text!r}; expected text. Correct the item {item.id!r}.")


def _read_path(path: str, *, trust: bool) -> "list[pystac.Item]":
    import pystac

    from xsr.sources.stac.online import FileIO

    where = path if "://" in path else str(Path(path).absolute())
    io = FileIO(where if is_remote(where) else None, trust=trust)
    content = json.loads(io.read_text(where))
    if not isinstance(content, dict):
        raise ParameterError(f"{path} holds a JSON {type(content).__name__}; expected an item, collection or catalog.")
    if "conformsTo" in content:
        raise ParameterError(f"{path} is an API; expected items. Pass it as url=, to search it.")
    if content.get("type") != "FeatureCollection":
        found = _read(pystac.read_file(where, stac_io=io))
        linked = not is_remote(where) and content.get("type") != "Feature"  # a catalogue on disk can link to the web
        return [mark(item, str(item.get_self_href()) if linked else where) for item in found]
    found = _read_mapping(content)
    for item in found:
        if item.get_self_href() is None:
            item.set_self_href(f"{where.partition('?')[0].rpartition('/')[0]}/{item.id}.json")
    return [mark(item, where) for item in found]


def _read_mapping(content: Mapping[str, Any]) -> "list[pystac.Item]":
    import pystac

    kind = content.get("type")
    if kind == "FeatureCollection":
        return [item for feature in content["features"] for item in _read(feature)]
    if kind == "Feature":
        return _read(pystac.Item.from_dict(dict(content)))
    if kind == "Collection":
        return _read_catalog(pystac.Collection.from_dict(dict(content)))
    if kind == "Catalog":
        return _read_catalog(pystac.Catalog.from_dict(dict(content)))
    raise ParameterError(
        f"a dictionary of type {kind!r} is no STAC; expected Feature, FeatureCollection, Catalog or Collection."
    )


def _read_catalog(catalog: "pystac.Catalog") -> "list[pystac.Item]":
    found = list(catalog.get_items(recursive=True))
    if not found:
        raise ParameterError(
            f"{type(catalog).__name__} {catalog.id!r} links to no items; expected some. Those of an API are found with"
            f" url= (the address of the API) and collection={catalog.id!r}."
        )
    return found

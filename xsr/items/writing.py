"""An item as a file beside what it describes."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xsr.core.errors import ParameterError, StoreError
from xsr.core.store.place import RETRY, Place, StoreLike, resolve_place, store_errors
from xsr.items.item import stac_item
from xsr.items.models import REL, published_card
from xsr.items.template import TemplateLike, read_template

if TYPE_CHECKING:
    import pystac

StacLike: TypeAlias = "bool | Mapping[str, Any] | pystac.Item | str | Path"
"""Whether an item is written; or its template."""
ENDINGS = (".zarr", ".tiff", ".tif")


def template_of(stac: StacLike) -> TemplateLike:
    """Template that a verb was given with ``stac=``; checked before anything is computed."""
    template = None if isinstance(stac, bool) else stac
    read_template(template)
    return template


def require_path(stac: StacLike, path: StoreLike) -> None:
    """Refuse, before anything is computed, an item that has no place or a template that is no item.

    Raises
    ------
    ParameterError
        If nothing lies beside the store, or the template is none.
    """
    if stac is False:
        return
    template_of(stac)
    if not isinstance(path, str | Path):
        raise ParameterError(
            f"stac= with a {type(path).__name__}, beside which nothing lies; expected a folder or a URL. Make the item"
            " with xsr.stac_item(store, href=...)."
        )


def write_beside(path: str | Path, stac: StacLike, **how: Any) -> str | None:
    """Write the item of a store or a GeoTIFF beside it, ``fine.json`` for ``fine.zarr``, and that of its model.

    Parameters
    ----------
    path
        Path or URL of what was written.
    stac
        Whether to write an item, or its template.
    how
        Further arguments of `xsr.stac_item`.

    Returns
    -------
    str or None
        Path or URL of the item.

    Raises
    ------
    StoreError
        If another file has that name, or it cannot be written.
    """
    if stac is False:
        return None
    options = how.get("storage_options")
    item = stac_item(path, template=template_of(stac), **how)
    place = resolve_place(path, options)
    target = Place(_stem(place.path) + ".json", place.options)
    link = next((one for one in item.links if one.rel == REL and Path(str(one.target)).is_file()), None)
    if link is not None:
        card = Path(str(link.target))
        beside = Place(f"{_stem(place.path)}.{card.stem}.json", place.options)
        _put(beside, published_card(card))
        link.target = f"./{beside.path.rpartition('/')[2]}" if place.remote else f"./{Path(beside.path).name}"
    _put(target, _document(item, place))
    return target.name


def _stem(path: str) -> str:
    path = path.rstrip("/")
    ending = next((one for one in ENDINGS if path.lower().endswith(one)), "")
    return path[: len(path) - len(ending)]


def _document(item: "pystac.Item", place: Place) -> Mapping[str, Any]:
    """Item whose own asset is named beside it."""
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    name = place.name.rstrip("/").rpartition("/")[2] if place.remote else Path(place.path).name
    document["assets"]["data"]["href"] = f"./{name}"
    return document


def _put(target: Place, document: Mapping[str, Any]) -> None:
    """Write a document as a whole; only one of ours is replaced."""
    import fsspec

    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    with store_errors(target, "writing the item", remedy=RETRY):
        files, path = fsspec.core.url_to_fs(target.path, **(target.fsspec or {}))
        if files.exists(path) and not _is_ours(files.cat_file(path)):
            raise StoreError(f"{target.name} exists and is no item of xsr; expected none. Move it, or leave stac= out.")
        if target.remote:
            files.pipe_file(path, text.encode())
            return
        half = Path(target.path).with_name(f".{Path(target.path).name}.incoming")
        half.write_text(text, encoding="utf-8")
        os.replace(half, target.path)


def _is_ours(content: bytes) -> bool:
    try:
        found = json.loads(content)["properties"]
    except (ValueError, KeyError, TypeError):
        return False
    return "xsr" in found.get("processing:software", {}) or "mlm:hyperparameters" in found

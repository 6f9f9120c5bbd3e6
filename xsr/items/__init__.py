"""STAC items of what xsr writes: one beside a store or a GeoTIFF, made of what lies there.

=========  ==================================================================
item       the item of a path, and its properties
results    what lies at a path: grid, bands, dates, provenance
fields     the fields of a grid and of bands
models     the model of a result, as an item of its own
template   a user's item, whose fields are merged
writing    an item as a file beside what it describes
=========  ==================================================================
"""

from xsr.items.item import stac_item
from xsr.items.template import TemplateLike
from xsr.items.writing import StacLike, write_beside

__all__ = ["StacLike", "TemplateLike", "stac_item", "write_beside"]

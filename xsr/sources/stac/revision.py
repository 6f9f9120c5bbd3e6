"""What a later search changes in a date that is down: tiles that came later, items that were processed again.

A store remembers the items that each of its dates is made of as `Scene`. `revise` compares them with the items of a
search and decides what becomes of the date. Plain bookkeeping: nothing is opened.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from xsr.sources.harmonise import Identity, parse_baseline
from xsr.sources.stac.describe import baseline, datastrip_of
from xsr.sources.stac.examine import Processing, processings

if TYPE_CHECKING:
    import pystac

Reprocessed = Literal["keep", "replace"]
"""What to do about a date whose items were processed again."""
Fate = Literal["keep", "resume", "renew", "fill"]
"""What becomes of a date: it stays; its missing blocks are loaded; all are loaded; its holes are filled."""


LONGEST = 64
"""Characters that are remembered of what an item says."""
STATED = ("file:checksum", "file:size")
"""What an item may state about the content of its files."""


@dataclass(frozen=True)
class Scene:
    """An item that a date is made of, as a store remembers it."""

    id: str
    part: tuple[str, ...] = ()
    """Acquisition and tile; empty if they are not known."""
    datastrip: str = ""
    processing: Mapping[str, str] = field(default_factory=dict)
    """What the item says about its processing. Addresses are not in it, only a digest of their paths."""
    pending: bool = False
    """Whether the item is still to be added to the date, which is made of others."""

    @classmethod
    def of(cls, item: "pystac.Item", identity: Identity, *, pending: bool = False) -> "Scene":
        """Remember an item."""
        known = item.properties
        said = {
            "baseline": baseline(item),
            "generated": identity.generated,
            "created": known.get("created"),
            "updated": known.get("updated"),
            "files": _files(item),
        }
        processing = {key: str(value)[:LONGEST] for key, value in said.items() if value}
        return cls(item.id, identity.acquisition, datastrip_of(item), processing, pending)

    def with_content(self, content: str) -> "Scene":
        """Scene whose files have a hash; an empty one says nothing."""
        return replace(self, processing={**self.processing, "content": content}) if content else self

    @classmethod
    def load(cls, record: Mapping[str, Any]) -> "Scene":
        """Restore a scene from JSON."""
        return cls(**{**record, "part": tuple(record["part"])})

    def save(self) -> dict[str, Any]:
        """Scene as JSON."""
        return {**asdict(self), "part": list(self.part)}

    @property
    def rank(self) -> tuple[tuple[int, ...], str]:
        """Sorts processings of one part, the latest last."""
        return parse_baseline(self.processing.get("baseline")), self.processing.get("generated", "")

    def shows(self, other: "Scene") -> bool:
        """Whether two scenes are processings of the same part of an acquisition."""
        strips = {self.datastrip, other.datastrip} - {""}
        return bool(self.part) and self.part == other.part and len(strips) < 2

    def differences(self, other: "Scene") -> list[str]:
        """Name what two scenes say differently about their processing; what one of them does not say does not count."""
        shared = self.processing.keys() & other.processing.keys()
        return sorted(key for key in shared if self.processing[key] != other.processing[key])


def _files(item: "pystac.Item") -> str:
    """Digest of the paths of the data of an item, and of their checksums and sizes where it states them.

    Hosts, users and queries of addresses are left out: they differ between mirrors and from one signing to the next.
    """
    said = [
        [key, re.sub(r"^\w+://[^/]*|[?#].*$", "", asset.href), *map(asset.extra_fields.get, STATED)]
        for key, asset in sorted(item.assets.items())
        if not asset.roles or "data" in asset.roles
    ]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Revision:
    """What becomes of a date that is down."""

    fate: Fate
    items: "tuple[pystac.Item, ...]" = ()
    """Items to load."""
    late: tuple[str, ...] = ()
    """Items that came later and are added."""
    changed: tuple[str, ...] = ()
    """Items that were processed again, with what differs."""
    lacking: tuple[str, ...] = ()
    """Items without which the date cannot be continued: the search does not find them as they were."""


def revise(
    held: Sequence[Scene],
    found: "Sequence[pystac.Item]",
    *,
    whole: bool,
    reprocessed: Reprocessed,
    contents: Mapping[str, str] | None = None,
) -> Revision:
    """Decide what becomes of a date.

    Parameters
    ----------
    held
        Items that the date is made of.
    found
        Items of the date that a search finds; may be none.
    whole
        Whether all blocks of the date are down.
    reprocessed
        ``keep`` the date as it is, or ``replace`` it.
    contents
        Hash of the files of items that were looked at, by their names.

    Returns
    -------
    Revision
        - A tile that came later: the date is loaded anew from all its items; where they are not found any more as they
          were, its holes are filled from the late ones alone.
        - Missing blocks are loaded from the same items; if these are not found any more as they were, the date is
          loaded anew from those that are found, as long as every part of it is among them.
    """
    match = _match([scene for scene in held if not scene.pending], processings(found), contents or {})
    late = tuple(item.id for item in match.late)
    pending = tuple(scene.id for scene in held if scene.pending)
    renewed = Revision("renew", match.best, late, match.changed)
    if match.lost:
        renewed = Revision("keep", changed=match.changed, lacking=match.lost)
    if match.changed and reprocessed == "replace":
        return renewed
    if match.late and not match.lacking:
        return Revision("renew", match.before + match.late, late, match.changed)
    if match.late and (whole or pending):
        return Revision("fill", match.late, late, match.changed)
    if whole or pending:
        return Revision("keep", changed=match.changed, lacking=pending)
    if not match.lacking:
        return Revision("resume", match.before, changed=match.changed)
    return renewed


@dataclass(frozen=True)
class _Match:
    """Items of a date that are known, and those found."""

    before: "tuple[pystac.Item, ...]"
    """Items found as the date was made of them."""
    lacking: tuple[str, ...]
    """Known items that are not found as they were."""
    lost: tuple[str, ...]
    """Known items of whose part nothing is found."""
    changed: tuple[str, ...]
    """Items of which another processing is found, with what differs."""
    late: "tuple[pystac.Item, ...]"
    """Latest processings of parts of which nothing is known."""
    best: "tuple[pystac.Item, ...]"
    """Latest processings of all parts that are found."""


def _match(held: Sequence[Scene], parts: Sequence[Sequence[Processing]], contents: Mapping[str, str]) -> _Match:
    """Pair the items that a date is made of with the parts of it that a search finds."""
    found = [[Scene.of(one, which).with_content(contents.get(one.id, "")) for one, which in part] for part in parts]
    owners = _owners(held, found)
    shown = {owner.id for owner in owners if owner is not None}
    items = {item.id: item for part in parts for item, _ in part}
    known = {scene.id: scene for scene in held}
    same = {one.id for part in found for one in part if one.id in known and not known[one.id].differences(one)}
    changed = [_change(owner, part) for owner, part in zip(owners, found, strict=True) if owner is not None]
    best = [part[0][0] for part in parts]
    return _Match(
        before=tuple(items[scene.id] for scene in held if scene.id in same),
        lacking=tuple(scene.id for scene in held if scene.id not in same),
        lost=tuple(scene.id for scene in held if scene.id not in shown),
        changed=tuple(text for text in changed if text),
        late=tuple(item for item, owner in zip(best, owners, strict=True) if owner is None),
        best=tuple(best),
    )


def _owners(held: Sequence[Scene], found: Sequence[Sequence[Scene]]) -> list[Scene | None]:
    """Scene of each part that is found: by name, else by acquisition, tile and datastrip; None if there is none."""
    owners = [next((scene for scene in held if scene.id in {one.id for one in part}), None) for part in found]
    taken = {owner.id for owner in owners if owner is not None}
    left = [scene for scene in held if scene.id not in taken]
    return [
        owner or next((scene for scene in left if scene.shows(part[0])), None)
        for owner, part in zip(owners, found, strict=True)
    ]


def _change(held: Scene, part: Sequence[Scene]) -> str:
    """Describe a newer processing than the one known; nothing where there is none."""
    latest = part[0]
    differences = held.differences(latest)
    if latest.id == held.id:
        return f"{held.id} ({', '.join(differences)} changed)" if differences else ""
    return f"{held.id} (now {latest.id})" if latest.rank > held.rank else ""

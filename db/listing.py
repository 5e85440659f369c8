"""Comparison of a listing with the stored versions of its place: new, returned, renamed or missing clips."""

from collections.abc import Collection
from dataclasses import dataclass

from db.object_version import ObjectVersion

SMALL_PLACE = 20
"""Known clips up to which a listing may lack most of them; people empty small folders."""
FEW_CLIPS = 5
"""The same limit for an empty listing, as of a share that is not mounted."""


class MostClipsLost(RuntimeError):
    """A listing without most of the known clips of its place, as of a share that is not mounted."""


@dataclass(frozen=True)
class ListingCounts:
    """Changes by a listing: versions first seen, versions already current or back, uris that are gone.

    `unlisted` counts files and folders that exist but could not be listed, `forgotten` versions that are no
    clips, since they were forgotten on purpose.
    """

    new: int
    known: int
    gone: int
    unlisted: int = 0
    forgotten: int = 0


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """A stored version of a clip."""

    id: int
    is_missing: bool


class ListingComparison:
    """A comparison that takes a listing object by object; the changes are known once it is complete."""

    def __init__(self, stored: dict[tuple[str, str], KnownVersion]) -> None:
        """Compare with `stored`, versions by uri and version token; listed ones are removed from it."""
        self._unseen = stored
        self._known = sum(not version.is_missing for version in stored.values())
        self._named = 0
        self._unlisted: list[ObjectVersion] = []
        self._forgotten = 0
        self.new: list[ObjectVersion] = []
        self.back: dict[int, str] = {}
        self.upgraded: dict[int, str] = {}

    def take(self, clip: ObjectVersion) -> None:
        """Compare the next object of the listing."""
        if clip.is_unlisted:
            self._unlisted.append(clip)
        else:
            self._compare(clip)

    def end(self) -> None:
        """Keep what could not be listed, and all below it, unchanged; if never listed before, it is a clip
        too.
        """
        places = {clip.uri for clip in self._unlisted}
        kept = {uri for uri in self.missing.values() if _is_in(uri, places)}
        if kept:
            self._unseen = {key: version for key, version in self._unseen.items() if key[0] not in kept}
        for clip in self._unlisted:
            if clip.uri not in kept:
                self._compare(clip)

    def leave_out(self, forgotten: Collection[ObjectVersion]) -> None:
        """Leave out new versions that were forgotten."""
        self.new = [clip for clip in self.new if clip not in forgotten]
        self._forgotten += len(forgotten)

    def _compare(self, clip: ObjectVersion) -> None:
        self._named += 1
        token = next((token for token in clip.tokens if (clip.uri, token) in self._unseen), None)
        if token is None:
            self.new.append(clip)
            return
        version = self._unseen.pop((clip.uri, token))
        if version.is_missing:
            self.back[version.id] = clip.uri
        if token != clip.version_token:
            self.upgraded[version.id] = clip.version_token

    @property
    def missing(self) -> dict[int, str]:
        """Ids and uris of the versions that were current and were not listed."""
        return {version.id: uri for (uri, _), version in self._unseen.items() if not version.is_missing}

    @property
    def counts(self) -> ListingCounts:
        still_there = {clip.uri for clip in self.new} | set(self.back.values())
        gone = len(set(self.missing.values()) - still_there)
        known = self._named - len(self.new) - self._forgotten
        return ListingCounts(len(self.new), known, gone, len(self._unlisted), self._forgotten)

    def check_loss(self, place: object) -> None:
        """Raise MostClipsLost for a listing that is empty, or of a large place, and lost most clips."""
        gone = self.counts.gone
        if self._known > (SMALL_PLACE if self._named else FEW_CLIPS) and gone > self._known / 2:
            raise MostClipsLost(
                f"{gone} of {self._known} known clips of {place} are not in its listing, which has "
                f"{self._named} objects: is the share mounted, and is this all of it? Nothing was changed. "
                "If the clips were removed, allow the loss: --allow-loss, or allow_loss in the form"
            )


def _is_in(uri: str, places: set[str]) -> bool:
    """Return whether a uri is one of the places, or below one."""
    if not places:
        return False
    parts = uri.split("/")
    return any("/".join(parts[:end]) in places for end in range(1, len(parts) + 1))

"""The config of an image: what to run in it, and how its layers came to be.

Source: https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md; Docker's has more members, which are kept.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

from lamina.errors import ConfigError, LimitExceededError, ManifestError
from lamina.image.document import Fields, known_names, read_json, write_json
from lamina.image.spec import Platform, checked_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.diff.limits import Limits

_CONFIG = known_names(
    "created", "author", "architecture", "os", "os.version", "os.features", "variant", "config", "rootfs", "history"
)
_SETTINGS = known_names("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal")
_ROOTFS = known_names("type", "diff_ids")
_HISTORY = known_names("created", "author", "created_by", "comment", "empty_layer")

#: Members of Docker's configs that tell of the container an image was made in, and would be untrue of a child.
_OF_ANOTHER_CONTAINER: Final = frozenset({"container", "container_config", "id", "parent", "docker_version", "throwaway"})

_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One step by which an image was made."""

    created: datetime | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    #: Whether the step changed settings only and left no layer.
    empty_layer: bool = False

    @classmethod
    def read(cls, value: object, where: str) -> Self:
        """Read an entry of ``history``; raises :class:`ManifestError`."""
        fields = Fields(value, where, _HISTORY)
        return cls(
            _time(fields.text("created"), where),
            fields.text("created_by"),
            fields.text("author"),
            fields.text("comment"),
            fields.flag("empty_layer"),
        )

    def members(self) -> dict[str, object]:
        """Return the JSON object, without what is empty."""
        found: dict[str, object] = {
            "created": timestamp(self.created) if self.created else "",
            "created_by": self.created_by,
            "author": self.author,
            "comment": self.comment,
            "empty_layer": self.empty_layer,
        }
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The config of an image, as far as it has a meaning here; ``document`` has all of it.

    Nothing in it is trusted: paths in it are not paths of this machine, names not users of this machine.
    """

    platform: Platform
    created: datetime | None = None
    author: str = ""
    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    #: Digests of the uncompressed layers, from the base up.
    diff_ids: tuple[str, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    #: The whole document, unknown members too.
    document: Mapping[str, object] = field(default_factory=lambda: _NOTHING, repr=False)

    @classmethod
    def read(cls, data: bytes, where: str, limits: Limits) -> Self:
        """Read the bytes of a config.

        Raises :class:`ManifestError`, also when the history tells of another number of layers than there are.
        """
        fields = Fields(read_json(data, where, limits), where, _CONFIG)
        settings = Fields(fields.raw("config") if "config" in fields else {}, f"{where} config", _SETTINGS)
        rootfs = Fields(fields.raw("rootfs"), f"{where} rootfs", _ROOTFS)
        if rootfs.text("type") != "layers":
            raise ManifestError(where, f"'rootfs' is of type {rootfs.text('type')!r}, not 'layers'")
        diff_ids = tuple(checked_digest(text, f"{where} diff_ids") for text in rootfs.texts("diff_ids"))
        if len(diff_ids) > limits.layers:
            raise LimitExceededError(where, "layers", limits.layers, len(diff_ids))
        history = tuple(
            HistoryEntry.read(value, f"{where} history entry {number}")
            for number, value in enumerate(fields.values("history"), 1)
        )
        steps = sum(not entry.empty_layer for entry in history)
        if history and steps != len(diff_ids):
            raise ManifestError(where, f"its history tells of {steps} layers, and there are {len(diff_ids)}")
        return cls(
            Platform(fields.text("os"), fields.text("architecture"), fields.text("variant")),
            _time(fields.text("created"), where),
            fields.text("author"),
            settings.text("User"),
            settings.texts("Env"),
            settings.texts("Entrypoint"),
            settings.texts("Cmd"),
            settings.text("WorkingDir"),
            settings.mapping("Labels"),
            settings.names("ExposedPorts"),
            settings.names("Volumes"),
            settings.text("StopSignal"),
            diff_ids,
            history,
            fields.members,
        )

    def child(self, entry: HistoryEntry, diff_id: str, settings: Mapping[str, object]) -> bytes:
        """Return the bytes of a config that continues this one by a layer, or by settings alone when ``diff_id`` is empty.

        ``settings`` are members of the specification's ``config`` object: ``Env`` replaces variables by name, ``Labels``
        labels by name, anything else the whole member; None removes one.
        """
        document = {name: value for name, value in self.document.items() if name not in _OF_ANOTHER_CONTAINER}
        document["created"] = timestamp(entry.created or creation_time())
        if entry.author:
            document["author"] = entry.author
        document["architecture"] = self.platform.architecture
        document["os"] = self.platform.os
        if self.platform.variant:
            document["variant"] = self.platform.variant
        document["config"] = _merged(document.get("config"), settings)
        document["rootfs"] = {"type": "layers", "diff_ids": [*self.diff_ids, *([diff_id] if diff_id else [])]}
        document["history"] = [*self._steps(), entry.members()]
        return write_json(document)

    def _steps(self) -> list[object]:
        if self.history or not self.diff_ids:
            steps = self.document.get("history")
            return list(steps) if isinstance(steps, list) else []
        # A history that starts in the middle would tell of fewer layers than there are.
        return [HistoryEntry(created_by="unknown").members() for _ in self.diff_ids]


def creation_time() -> datetime:
    """Return the time to write into new images: that of ``SOURCE_DATE_EPOCH`` where it is set, which makes them reproducible.

    Raises :class:`lamina.errors.ConfigError` for a value that is no number of seconds. See
    https://reproducible-builds.org/specs/source-date-epoch/.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError("SOURCE_DATE_EPOCH", f"{text!r} is no number of seconds since 1970") from error


def timestamp(moment: datetime) -> str:
    """Return a point in time as RFC 3339 has it, in UTC: ``2026-03-01T12:00:00Z``."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _time(text: str, where: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise ManifestError(where, f"{text[:64]!r} is no point in time") from error


def _merged(old: object, settings: Mapping[str, object]) -> dict[str, object]:
    merged: dict[str, object] = dict(old) if isinstance(old, dict) else {}
    for name, value in settings.items():
        before = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif name == "Env" and isinstance(value, (list, tuple)):
            known = before if isinstance(before, list) else []
            merged[name] = list({str(item).partition("=")[0]: item for item in [*known, *value]}.values())
        elif name == "Labels" and isinstance(value, dict):
            merged[name] = {**(before if isinstance(before, dict) else {}), **value}
        else:
            merged[name] = value
    return merged

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from lamina.diff import Limits
from lamina.errors import ConfigError, ManifestError
from lamina.image.config import HistoryEntry, ImageConfig, creation_time
from lamina.image.spec import Platform

A = f"sha256:{'a' * 64}"
B = f"sha256:{'b' * 64}"
THEN = datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)
LIMITS = Limits()

Json = dict[str, object]


def document(**more: object) -> Json:
    return {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [A]},
        "history": [{"created_by": "base"}],
        **more,
    }


def read(value: object) -> ImageConfig:
    return ImageConfig.read(json.dumps(value).encode(), "it", LIMITS)


def child(parent: ImageConfig, diff_id: str = B, **settings: object) -> ImageConfig:
    return ImageConfig.read(parent.child(HistoryEntry(THEN, "step", empty_layer=not diff_id), diff_id, settings), "child", LIMITS)


def test_what_a_config_says_is_read() -> None:
    settings = {
        "User": "65534:0",
        "Env": ["A=b"],
        "Entrypoint": ["/e"],
        "Cmd": ["c"],
        "WorkingDir": "/w",
        "Labels": {"l": "1"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/v": {}},
        "StopSignal": "SIGUSR1",
    }
    found = read(document(created="2024-02-03T04:05:06Z", author="me", variant="v1", config=settings))

    assert found.platform == Platform("linux", "amd64", "v1")
    assert (found.created, found.author, found.user) == (THEN, "me", "65534:0")
    assert (found.env, found.entrypoint, found.cmd) == (("A=b",), ("/e",), ("c",))
    assert (found.working_dir, found.labels, found.stop_signal) == ("/w", {"l": "1"}, "SIGUSR1")
    assert (found.exposed_ports, found.volumes) == (("80/tcp",), ("/v",))
    assert (found.diff_ids, found.history) == ((A,), (HistoryEntry(created_by="base"),))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(document(rootfs=None), id="J9-rootfs-is-null"),
        pytest.param(document(rootfs={"type": "layers", "diff_ids": A}), id="J9-diff-ids-are-a-string"),
        pytest.param(document(rootfs={"type": "layers", "diff_ids": [1]}), id="J9-diff-id-is-a-number"),
        pytest.param(document(rootfs={"type": "layers", "diff_ids": ["sha256:x"]}), id="P18-diff-id-is-no-digest"),
        pytest.param(document(rootfs={"type": "other", "diff_ids": [A]}), id="J9-rootfs-of-another-type"),
        pytest.param(document(config=[]), id="J9-settings-are-an-array"),
        pytest.param(document(config={"Env": "A=b"}), id="J9-env-is-a-string"),
        pytest.param(document(config={"Env": [None]}), id="J9-env-holds-null"),
        pytest.param(document(config={"Volumes": []}), id="J9-volumes-are-an-array"),
        pytest.param(document(config={"Labels": {"a": None}}), id="J9-label-is-null"),
        pytest.param(document(config={"env": ["A=b"]}), id="J4-env-in-another-case"),
        pytest.param(document(RootFS={}), id="J4-rootfs-in-two-cases"),
        pytest.param(document(created="yesterday"), id="J9-no-time"),
        pytest.param(document(created=5), id="J9-time-is-a-number"),
        pytest.param(document(created="0001-01-01T00:00:00+23:59"), id="J9-time-before-all-times"),
        pytest.param(document(history=[{}, {}]), id="J8-history-of-more-layers"),
        pytest.param(document(history=[{"empty_layer": True}]), id="J8-history-of-fewer-layers"),
        pytest.param(document(history=[{"empty_layer": "no"}]), id="J9-empty-layer-is-a-string"),
        pytest.param(document(history={}), id="J9-history-is-an-object"),
        pytest.param([], id="J9-an-array"),
    ],
)
def test_what_breaks_the_specification_is_refused(value: object) -> None:
    with pytest.raises(ManifestError):
        read(value)


def test_a_history_may_be_missing() -> None:
    assert read(document(history=None)).history == ()


def test_labels_that_differ_in_case_are_two_labels() -> None:
    assert read(document(config={"Labels": {"Maintainer": "a", "maintainer": "b"}})).labels == {
        "Maintainer": "a",
        "maintainer": "b",
    }


def test_j11_paths_of_a_config_stay_text() -> None:
    found = read(document(config={"Volumes": {"/../../x": {}}, "WorkingDir": "../../x"}))

    assert (found.volumes, found.working_dir) == (("/../../x",), "../../x")


def test_a_child_adds_a_layer_and_a_step() -> None:
    found = child(read(document()))

    assert found.diff_ids == (A, B)
    assert found.history == (HistoryEntry(created_by="base"), HistoryEntry(THEN, "step"))
    assert found.created == THEN


def test_a_child_without_changes_adds_a_step_alone() -> None:
    found = child(read(document()), diff_id="")

    assert found.diff_ids == (A,)
    assert found.history[-1] == HistoryEntry(THEN, "step", empty_layer=True)


def test_a_child_of_an_image_without_history_tells_of_all_its_layers() -> None:
    found = child(read(document(history=None)))

    assert [entry.created_by for entry in found.history] == ["unknown", "step"]


def test_a_child_keeps_settings_and_unknown_members() -> None:
    parent = read(document(config={"Cmd": ["sh"], "Healthcheck": {"Test": ["NONE"]}}, moby={"x": 1}, container="gone", id="gone"))

    found = child(parent)

    assert found.cmd == ("sh",)
    assert found.document["config"] == {"Cmd": ["sh"], "Healthcheck": {"Test": ["NONE"]}}
    assert found.document["moby"] == {"x": 1}
    assert not {"container", "id"} & set(found.document)


def test_settings_of_a_child_replace_by_name() -> None:
    parent = read(document(config={"Env": ["A=1", "B=2"], "Labels": {"x": "1"}, "Cmd": ["sh"], "User": "me"}))

    found = child(parent, Env=["B=3", "C=4"], Labels={"y": "2"}, Cmd=["run"], User=None)

    assert found.env == ("A=1", "B=3", "C=4")
    assert found.labels == {"x": "1", "y": "2"}
    assert (found.cmd, found.user) == (("run",), "")


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ManifestError, match="'Cmd' should be an array"):
        child(read(document()), Cmd="sh")


def test_a_first_image_is_a_child_of_nothing() -> None:
    found = child(ImageConfig(Platform("linux", "arm", "v7")))

    assert (found.platform, found.diff_ids) == (Platform("linux", "arm", "v7"), (B,))


def test_new_images_are_from_the_time_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1706933106")
    assert creation_time() == THEN

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(ConfigError, match="SOURCE_DATE_EPOCH"):
        creation_time()

    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert creation_time() > THEN

"""The nouns on a store, through the installed command: what a script gets, and what a person sees."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.process import LAMINA, Ended, called, lamina, on_a_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

DIGEST = re.compile(r"sha256:[0-9a-f]{64}\n")


class Shop:
    """A store with an image `base`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, *words: str | Path) -> str:
        ended = self.attempt(*words)
        assert (ended.code, ended.err) == (0, "")
        return ended.out

    def attempt(self, *words: str | Path) -> Ended:
        return called("--root", self.root, *words)

    def json(self, *words: str | Path) -> Any:
        return json.loads(self("--format=json", *words))


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("stocked")
    for name in ("etc", "srv"):
        (place / "tree" / name).mkdir(parents=True)
    (place / "tree/etc/motd").write_text("hello\n")
    made = lamina("--root", place / "store", "--durability", "relaxed", "image", "import", place / "tree", "-t", "base")
    assert (made.code, made.err) == (0, "")
    assert DIGEST.fullmatch(made.out)
    return place / "store"


@pytest.fixture
def shop(stocked: Path, tmp_path: Path) -> Iterator[Shop]:
    shutil.copytree(stocked, tmp_path / "store")
    shop = Shop(tmp_path / "store")
    yield shop
    for container in shop.json("container", "list"):
        shop("container", "remove", "--force", container["id"])
    for layer in shop.json("layer", "list"):
        if shop.json("layer", "show", layer["key"])["mounted_at"]:
            shop("layer", "unmount", layer["key"])


def test_create_prints_the_id_alone(shop: Shop) -> None:
    printed = shop("container", "create", "base", "--name", "web")

    assert re.fullmatch(r"[0-9a-f]{32}\n", printed)
    assert shop.json("container", "show", "web")["id"] == printed.strip()


def test_mount_prints_the_path_alone(shop: Shop, tmp_path: Path) -> None:
    shop("container", "create", "base", "--name", "web")
    (tmp_path / "target").mkdir()

    own = shop("container", "mount", "web").rstrip("\n")
    wanted = shop("container", "mount", "web", tmp_path / "target")

    assert wanted == f"{tmp_path}/target\n"
    assert shop.json("container", "show", "web")["mounted_at"] == [own, f"{tmp_path}/target"]


def test_changes_are_listed_for_people_and_for_programs(shop: Shop, tmp_path: Path) -> None:
    shop("container", "create", "base", "--name", "web")
    (tmp_path / "target").mkdir()
    shop("container", "mount", "web", tmp_path / "target")
    (tmp_path / "target/srv/new\nline").touch()
    (tmp_path / "target/etc/motd").unlink()

    assert shop("container", "changes", "web") == "M /etc\nD /etc/motd\nM /srv\nA /srv/new\\nline\n"
    assert {"path": "srv/new\nline", "kind": "added"} in shop.json("container", "changes", "web")


def test_a_diff_is_a_file_or_stdout_with_the_same_bytes(shop: Shop, tmp_path: Path) -> None:
    shop("container", "create", "base", "--name", "web")

    diff_id = shop("container", "diff", "web", "-o", tmp_path / "web.tar").strip()
    through = subprocess.run(
        [LAMINA, f"--root={shop.root}", "container", "diff", "web", "-o", "-"], stdout=subprocess.PIPE, check=True
    )

    assert through.stdout == (tmp_path / "web.tar").read_bytes()
    assert diff_id == subprocess.check_output(["sha256sum"], input=through.stdout, text=False).decode().split()[0].join(
        ["sha256:", ""]
    )


def test_a_diff_that_fails_leaves_the_file_as_it_was(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "web.tar").write_text("old")

    ended = shop.attempt("container", "diff", "nobody", "-o", tmp_path / "web.tar")

    assert ended.code == 61
    assert (tmp_path / "web.tar").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "web.tar"]


def test_commit_gives_the_image_what_was_asked_for(shop: Shop) -> None:
    shop("container", "create", "base", "--name", "web")
    settings = ["--env", "A=b c", "--label", "x=y", "--cmd", "sh -c 'a b'", "--user", "www", "--workdir", "/srv"]

    printed = shop("container", "commit", "web", "-t", "shop", "-m", "why", "--author", "me", *settings)

    found = shop.json("image", "show", "shop")
    assert printed == f"{found['digest']}\n"
    assert found["config"]["env"] == ["A=b c"]
    assert found["config"]["cmd"] == ["sh", "-c", "a b"]
    assert (found["config"]["user"], found["config"]["working_dir"]) == ("www", "/srv")
    assert found["config"]["labels"] == {"x": "y"}
    assert shop.json("image", "history", "shop")[-1]["comment"] == "why"


def test_an_image_that_was_saved_is_loaded_with_its_digest(shop: Shop, tmp_path: Path) -> None:
    saved = shop("image", "save", "base", f"oci-archive:{tmp_path}/base.tar")

    loaded = lamina("--root", tmp_path / "other", "image", "load", f"oci-archive:{tmp_path}/base.tar", "-t", "again")

    shown = lamina("--root", tmp_path / "other", "--format", "json", "image", "show", "again")
    assert (loaded.code, loaded.out) == (0, "again:latest\n")
    assert json.loads(shown.out)["digest"] == saved.strip()


def test_a_layer_is_called_by_key_digits_image_or_container(shop: Shop) -> None:
    shop("container", "create", "base", "--name", "web")
    layer = shop.json("layer", "list")[0]["key"]

    called = [
        shop.json("layer", "show", name)["snapshot"]["key"] for name in (layer, layer[7:19], layer[:19], "base", "base:latest")
    ]

    assert called == 5 * [layer]
    writable = shop.json("layer", "show", "web")["snapshot"]
    assert writable["parent"] == layer
    assert shop.json("layer", "show", writable["key"][:22])["snapshot"] == writable


def test_what_is_no_layer_is_told(shop: Shop) -> None:
    ended = shop.attempt("layer", "show", "nothing")

    assert (ended.code, ended.err) == (11, "lamina: snapshot 'nothing' does not exist: `lamina layer list` shows what does\n")


def test_a_layer_can_be_looked_at(shop: Shop) -> None:
    place = shop("layer", "mount", "base").rstrip("\n")

    assert subprocess.check_output(["cat", f"{place}/etc/motd"]) == b"hello\n"
    shop("layer", "unmount", "base")
    assert shop.json("layer", "show", "base")["mounted_at"] == []


def test_the_tree_shows_what_stands_on_what(shop: Shop) -> None:
    shop("container", "create", "base", "--name", "web")
    shop("container", "create", "base", "--name", "db")

    base, *others, total = shop("layer", "tree").splitlines()

    assert re.fullmatch(r"- [0-9a-f]{12}  \+[0-9.]+ KiB  shared by 3  image base:latest", base)
    assert [line[:18].rstrip() for line in others] == ["  - container web", "  - container db"]
    assert "on disk; a copy for each image and container would take" in total
    assert [each["container"] for each in shop.json("layer", "tree")] == ["", "web", "db"]


def test_a_store_in_order_is_told_with_code_0_and_one_in_disorder_with_4(shop: Shop) -> None:
    assert shop.attempt("store", "check") == Ended(0, "", "everything agrees\n")
    (shop.root / "driver/overlay/77").mkdir()

    ended = shop.attempt("store", "check")

    assert ended.code == 4
    assert shop.json("store", "repair", "--dry-run") == shop.json("store", "repair")
    assert shop.attempt("store", "check").code == 0


def test_info_and_usage_say_what_there_is(shop: Shop) -> None:
    info, usage = shop.json("store", "info"), shop.json("store", "usage")

    assert (info["driver"], info["images"], info["containers"], info["root"]) == ("overlay", 1, 0, str(shop.root))
    assert [row["dependents"] for row in usage["snapshots"]] == [1]
    assert "saved by sharing" in shop("store", "usage")


def test_collection_tells_what_went(shop: Shop) -> None:
    assert shop.json("store", "gc")["images"] == []


def test_long_work_is_drawn_on_a_terminal_only(shop: Shop, tmp_path: Path) -> None:
    shop("image", "save", "base", f"oci-archive:{tmp_path}/base.tar")
    load = ["image", "load", f"oci-archive:{tmp_path}/base.tar", "-t", "again"]

    seen = on_a_terminal("--root", tmp_path / "terminal", *load)
    quiet = lamina("--root", tmp_path / "pipe", *load)

    assert "done" in seen
    assert (quiet.code, quiet.err) == (0, "")


def test_names_are_completed(shop: Shop) -> None:
    shop("container", "create", "base", "--name", "web")
    typed = ["lamina", "--root", str(shop.root), "container", "show", "w"]
    environ = {"_LAMINA_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(typed), "COMP_CWORD": "5"}

    assert lamina(environ=environ).out == "plain,web\n"


@pytest.mark.parametrize("columns", [50, 160])
def test_what_is_drawn_fits_the_terminal(columns: int, shop: Shop) -> None:
    shop("container", "create", "base", "--name", "a-name-that-is-not-short-at-all")

    tree, table = (drawn("--root", shop.root, *words, columns=columns) for words in (("layer", "tree"), ("container", "list")))

    assert "└── container a-name-that-is-not-short-at-all" in tree[2 if columns == 50 else 1]
    assert max(map(len, [*tree[:-1], *table])) <= columns


def drawn(*words: str | Path, columns: int) -> list[str]:
    """Return the lines that a terminal shows, without colours."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", on_a_terminal(*words, columns=columns)).splitlines()

"""What skopeo and umoci, which know nothing of lamina, say to an image that it saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.host.command import run, which
from lamina.testing.trees import differences, manifest

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.cli.tour.stage import Stage

_PATIENCE = 600.0


def copy_by_skopeo(stage: Stage, archive: Path, digest: str, scratch: Path) -> Path | None:
    """Have skopeo read an OCI archive, which verifies every digest in it, and return its copy; None where there is no skopeo."""
    if which("skopeo") is None:
        stage.missing("skopeo is not installed, so it is not asked: apt-get install skopeo")
        return None
    stage.command(f"skopeo copy --preserve-digests oci-archive:{archive.name} oci:copy:tour")
    skopeo = ["env", f"TMPDIR={scratch}", f"HOME={scratch}", "skopeo"]
    with stage.busy("read by skopeo"):
        run([*skopeo, "copy", "--preserve-digests", f"oci-archive:{archive}:tour", f"oci:{scratch}/copy:tour"], timeout=_PATIENCE)
    found = run([*skopeo, "inspect", "--format={{.Digest}}", f"oci:{scratch}/copy:tour"]).stdout.strip()
    if found == digest:
        stage.good("skopeo finds every digest right, and the same manifest")
    else:
        stage.missing(f"skopeo made the manifest {found} of it")
    return scratch / "copy"


def unpack_by_umoci(stage: Stage, layout: Path, tree: Path, scratch: Path) -> None:
    """Have umoci unpack an image, and compare that with ``tree``, what lamina makes of it."""
    if which("umoci") is None:
        stage.missing("umoci is not installed, so it is not asked: apt-get install umoci")
        return
    stage.command(f"umoci raw unpack --image {layout.name}:tour unpacked")
    with stage.busy("unpacked by umoci"):
        run(["umoci", "raw", "unpack", "--image", f"{layout}:tour", f"{scratch}/unpacked"], timeout=_PATIENCE)
    theirs, ours = manifest(scratch / "unpacked"), manifest(tree)
    found = differences(theirs, ours)
    if found:
        stage.missing(f"umoci's tree and ours differ in {len(found)} paths, the first one {found[0]}")
    else:
        stage.good(
            f"umoci's tree and ours are the same in all {len(ours)} paths: type, mode, owner, time, content, links, xattrs"
        )

"""Scenarios that every layering filesystem gets wrong at first, lowest layer first."""

from __future__ import annotations

from lamina.testing.scenario import (
    Scenario,
    Step,
    append,
    chmod,
    chown,
    link,
    mkdir,
    rename,
    replace,
    rm,
    symlink,
    write,
)

#: A small root filesystem with one of each usual thing; several scenarios start from it.
BASE: tuple[Step, ...] = (
    mkdir("etc"),
    write("etc/hosts", "127.0.0.1 here\n"),
    link("etc/hosts", "etc/hosts.old"),
    mkdir("usr"),
    mkdir("usr/lib"),
    mkdir("usr/lib/plugins"),
    write("usr/lib/plugins/first.so", b"\x7fELF\0", 0o755),
    symlink("first.so", "usr/lib/plugins/default.so"),
    mkdir("home"),
    mkdir("home/ada", 0o700),
)

BASIC = Scenario(
    "basic",
    BASE,
    [
        replace("etc/hosts", "127.0.0.1 here\n10.0.0.7 there\n"),
        write("etc/fstab", "none /tmp tmpfs\n", 0o600),
        write("etc/flag", b"", 0o666),
        write("home/ada/.profile", "umask 027\n", 0o640),
    ],
    [
        rm("etc/flag"),
        # what mv(1) does where the directory of a lower layer cannot be renamed
        mkdir("home/grace", 0o700),
        write("home/grace/.profile", "umask 027\n", 0o640),
        rm("home/ada"),
    ],
    [rm("usr"), rm("etc/hosts.old")],
    [
        rm("home"),
        mkdir("home"),
        mkdir("home/ada", 0o700),
        write("home/ada/.shrc", "PS1=:\n", 0o640),
        link("etc/hosts", "etc/hosts.old"),
    ],
)

#: Names that go in the layer that makes their neighbours, and a directory that is made anew where one was removed.
DELETION = Scenario(
    "deletion",
    [mkdir("srv"), mkdir("srv/www"), mkdir("lib", 0o700), write("lib/old", "must not come back")],
    [
        write("srv/one", "1"),
        write("srv/two", "2"),
        mkdir("srv/cgi"),
        write("srv/cgi/.keep"),
        rm("lib"),
        mkdir("lib", 0o700),
        write("lib/new", "visible"),
    ],
    [rm("srv/one"), rm("srv/two"), rm("srv/cgi"), write("lib/newer", "visible too")],
)

#: Same-sized, longer, replaced and untouched content beside changes of nothing but the mode.
UPDATE = Scenario(
    "update",
    [
        mkdir("data"),
        mkdir("private", 0o700),
        write("data/log", "first line\n"),
        write("data/tool", "#!/bin/sh\n"),
        write("data/state", "a"),
    ],
    [
        write("data/log", "another and longer first line\n", 0o664),
        rm("data/state"),
        write("data/state", "b", 0o664),
        chmod("data/tool", 0o766),
        chmod("private", 0o777),
    ],
)

#: Directories keep their modes when only what is in them changes.
DIRECTORY_MODES = Scenario(
    "directory-modes",
    [mkdir("closed", 0o700), mkdir("listed", 0o751), mkdir("open", 0o777)],
    [
        write("closed/file", "x"),
        mkdir("closed/deeper", 0o700),
        write("closed/deeper/file", "y"),
        write("listed/file", "z"),
        write("open/file", "z"),
    ],
)

#: … and so do those further up, also where the change is none.
PARENT_MODES = Scenario(
    "parent-modes",
    [
        *(mkdir(path, 0o700) for path in ("p", "p/q", "p/q/r")),
        write("p/q/note", "same"),
        *(mkdir(path, 0o751) for path in ("s", "s/t", "s/t/u")),
        write("s/t/note", "old"),
    ],
    [write("p/q/note", "same"), write("s/t/note", "new"), chmod("p/q/r", 0o700), chmod("s/t/u", 0o751)],
)

#: A new name, sorting after the old one, for a file that was replaced one layer earlier and is not touched in this one.
LINK_AFTER = Scenario("link-after", BASE, [replace("etc/hosts", "10.0.0.1 here\n")], [link("etc/hosts", "etc/zz-hosts")])
#: The same with a name that sorts before the old one.
LINK_BEFORE = Scenario("link-before", BASE, [replace("etc/hosts", "10.0.0.1 here\n")], [link("etc/hosts", "etc/a-hosts")])
#: The old name is made anew in the same layer, so both are this layer's.
LINK_BEFORE_CHANGED = Scenario(
    "link-before-changed",
    BASE,
    [rm("etc/hosts"), write("etc/hosts", "10.0.0.1 here\n"), link("etc/hosts", "etc/a-hosts")],
)

#: An edit that changes neither the size nor, on a coarse clock, the time.
SAME_SIZE = Scenario(
    "same-size",
    [mkdir("etc", 0o700), write("etc/resolv", "server 10.0.0.1"), write("etc/profile", "umask 022")],
    [
        write("etc/resolv", "server 10.0.0.2"),
        write("etc/profile", "umask 022", 0o666),
        mkdir("root", 0o700),
        write("root/.shrc", "PS1=:\n"),
    ],
)

REMADE_DIRECTORY = Scenario(
    "remade-directory",
    [mkdir("lib", 0o700), write("lib/hidden", "1")],
    [rm("lib"), mkdir("lib", 0o700), write("lib/seen", "2")],
    [write("lib/added", "3")],
)

OWNERS = Scenario(
    "owners",
    [mkdir("opt"), mkdir("opt/app"), mkdir("opt/app/bin", 0o700), write("opt/app/bin/run", "#!/bin/sh\n", 0o755)],
    [chown(path, 1, 1) for path in ("opt", "opt/app", "opt/app/bin", "opt/app/bin/run")],
)

#: Owners and modes of directories that are changed, removed, and made anew by later layers.
DIRECTORY_HISTORY = Scenario(
    "directory-history",
    [
        *(step for name in ("d1", "d2", "d3") for step in (mkdir(name, 0o700), chown(name, 1, 1))),
        mkdir("d4", 0o700),
        write("d4/file", "root's"),
        mkdir("d5", 0o700),
        write("d5/file", "goes away"),
        chown("d5/file", 1, 1),
    ],
    [chown("d2", 0, 0), rm("d3"), chown("d4", 1, 1), chown("d4/file", 1, 1)],
    [mkdir("d3", 0o700), chown("d3", 1, 1), rm("d5"), mkdir("d5", 0o700), chown("d5", 1, 1)],
)

MOVED_BY_COPY = Scenario(
    "moved-by-copy",
    [mkdir("old"), write("old/file", "carried along")],
    [mkdir("new"), write("new/file", "carried along"), rm("old")],
)
MOVED_BY_LINK = Scenario(
    "moved-by-link",
    [mkdir("old"), write("old/file", "carried along")],
    [mkdir("new"), link("old/file", "new/file"), rm("old/file")],
)
MOVED_BY_RENAME = Scenario(
    "moved-by-rename",
    [mkdir("old"), write("old/file", "carried along")],
    [mkdir("new"), rename("old/file", "new/file")],
)

RENAME_OVER_LOWER = Scenario(
    "rename-over-lower",
    [mkdir("d"), write("d/one", "1"), write("d/two", "2")],
    [write("d/fresh", "3"), rename("d/fresh", "d/one")],
)
RENAME_LOWER = Scenario(
    "rename-lower",
    [mkdir("d"), write("d/one", "1"), write("d/two", "2")],
    [rename("d/two", "d/three"), append("d/three", "and more")],
)
RENAME_LOWER_OVER_LOWER = Scenario(
    "rename-lower-over-lower",
    [mkdir("d"), mkdir("e"), write("d/one", "1"), write("e/two", "2")],
    [rename("d/one", "e/two")],
    [write("d/one", "a new one")],
)
#: Needs ``Capability.RENAME_DIRECTORY``.
RENAME_LOWER_DIRECTORY = Scenario(
    "rename-lower-directory",
    [mkdir("before"), mkdir("before/sub"), write("before/sub/file", "x"), write("before/other", "y")],
    [rename("before", "after"), write("after/sub/file", "changed")],
    [mkdir("before"), write("before/other", "a new one")],
)

#: What ``diff`` must carry over to a fresh copy of the parent, and ``apply`` must make of it.
DIFFABLE = (
    BASIC,
    DELETION,
    UPDATE,
    DIRECTORY_MODES,
    PARENT_MODES,
    LINK_AFTER,
    LINK_BEFORE,
    LINK_BEFORE_CHANGED,
    SAME_SIZE,
    REMADE_DIRECTORY,
    OWNERS,
    DIRECTORY_HISTORY,
    MOVED_BY_COPY,
    MOVED_BY_LINK,
    RENAME_OVER_LOWER,
    RENAME_LOWER,
    RENAME_LOWER_OVER_LOWER,
)


def deep(layers: int) -> Scenario:
    """Every layer rewrites one file, adds one, and makes one directory anew."""

    def above(number: int) -> list[Step]:
        return [
            write("rewritten", f"by layer {number}"),
            write(f"added/{number}", ""),
            rm("anew"),
            mkdir("anew"),
            write(f"anew/{number}", ""),
        ]

    bottom = [write("bottom", "still here"), write("rewritten", ""), mkdir("added"), mkdir("anew"), write("anew/0", "")]
    return Scenario(f"deep-{layers}", bottom, *(above(number) for number in range(1, layers)))

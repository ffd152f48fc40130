""":class:`KernelHost`: the :class:`lamina.host.Host` of a real machine."""

from __future__ import annotations

from lamina.host import btrfs, command, copy, loop, machine, mountinfo, remove, trees, xattr
from lamina.host import filesystem as filesystems
from lamina.host import mount as mounts


class KernelHost:
    """Performs what drivers ask for. What each method does is said in :class:`lamina.host.Host`, and where it is defined."""

    mount = staticmethod(mounts.mount)
    unmount = staticmethod(mounts.unmount)
    open_mounts = staticmethod(mounts.open_mounts)
    mount_table = staticmethod(mountinfo.mount_table)

    filesystem = staticmethod(filesystems.filesystem)
    can_reflink = staticmethod(filesystems.can_reflink)
    sync_filesystem = staticmethod(filesystems.sync_filesystem)
    copy_tree = staticmethod(copy.copy_tree)
    remove_tree = staticmethod(remove.remove_tree)
    sync_tree = staticmethod(trees.sync_tree)
    tree_usage = staticmethod(trees.tree_usage)
    get_xattr = staticmethod(xattr.get_path_xattr)
    set_xattr = staticmethod(xattr.set_path_xattr)
    send_differences = staticmethod(btrfs.send_differences)
    loop_device = staticmethod(loop.loop_device)

    run = staticmethod(command.run)
    which = staticmethod(command.which)
    kernel_release = staticmethod(machine.kernel_release)
    kernel_filesystems = staticmethod(machine.kernel_filesystems)
    effective_capability = staticmethod(machine.effective_capability)

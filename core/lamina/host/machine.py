"""Facts about the running kernel and the rights of this thread."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Final

#: In the order of their numbers (capabilities(7), linux/capability.h).
_CAPABILITIES: Final = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID"),
    *("CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN"),
    *("CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT"),
    *("CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE"),
    *("CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL"),
    *("CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND"),
    *("CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"),
)


@cache
def kernel_release() -> tuple[int, int]:
    """Return major and minor version of the running kernel."""
    release = os.uname().release
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None:
        raise OSError(f"the kernel calls itself {release!r}, which is no version")
    return int(match[1]), int(match[2])


def kernel_filesystems() -> frozenset[str]:
    """Return the types in /proc/filesystems. Whoever asks tries before that to have a module loaded."""
    with open("/proc/filesystems", encoding="ascii") as file:
        return frozenset(line.split()[-1] for line in file)


def effective_capability(name: str) -> bool:
    """Whether the calling thread holds a capability, such as ``CAP_SYS_ADMIN``, in effect; ValueError for an unknown name."""
    bit = _CAPABILITIES.index(name)
    with open("/proc/thread-self/status", encoding="ascii", errors="replace") as file:
        held = next(line for line in file if line.startswith("CapEff:"))
    return bool(int(held.split()[1], 16) >> bit & 1)

"""The storage drivers that come with lamina, one folder each; no folder knows another.

===========  =========================================================================================================
``overlay``  the kernel's overlay filesystem: a layer costs what it changes, a container costs a few directories
``vfs``      a full copy for each snapshot, shared block by block where the filesystem can: works everywhere
===========  =========================================================================================================

Each folder is a plugin like anyone else's: found through the entry-point group ``lamina``, and replaceable.
"""

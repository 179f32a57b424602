"""Keep freed memory: large activations otherwise go back to the kernel after every layer."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep and reuse freed blocks of any size.

    By default it maps every block over 32 MB anew and unmaps it when freed, so each layer of a
    network faults in fresh zeroed pages: training the built-in task's networks on two CPU cores is
    1.4 to 2.4 times faster with this. Memory stays at its peak until the process ends.

    Returns:
        whether the C library took the setting; elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))

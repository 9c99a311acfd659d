"""How the processes of jobs deal with freed memory: they keep it, because the next step asks for as much again."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's numbers, see mallopt(3)."""
LARGEST_REUSED_BYTES = 32 << 20
"""The highest that glibc lets be set. Larger blocks go back to the system when they are freed, as always."""
KEPT_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Ask the C library not to give small change back to the system; elsewhere than on glibc nothing.

    A network asks for the same megabytes of activations in every step. Left alone glibc returns them again and again,
    and the pages that the system clears anew took an eighth of a CPU's time.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_REUSED_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)

"""Files in folders that a model may write to: whoever opens one there may find anything else in its place.

Standard library only: both sides load this file.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

_AT_ONCE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""A FIFO would keep who opens it for ever, and so would another process with a lease on the file for a while."""


class NotPlain(OSError):
    """In the place of a file there is something else: a link, a FIFO, a socket, a folder or a device."""


def open_plain(path: Path, flags: int) -> int:
    """Open a file, at once or not at all, and return its descriptor.

    Args:
        path: the file, in a folder that is not the model's to replace.
        flags: as for `os.open`. What `os.O_CREAT` makes is its owner's alone.

    Raises:
        NotPlain: it is no file.
        OSError: it can't be opened.
    """
    try:
        opened = os.open(path, flags | _AT_ONCE, 0o600)
    except OSError as error:
        if _is_else(path):
            raise NotPlain(error.errno, "it is no file", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise NotPlain(errno.EINVAL, "it is no file", str(path))
    return opened


def _is_else(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False

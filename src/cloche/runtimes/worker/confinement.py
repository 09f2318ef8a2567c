"""What a worker keeps itself from doing to the machine around it, before it opens the model.

On Linux, and without privileges: Landlock keeps writes to folders that are named, signals and the memory of other
processes out of reach; a filter of system calls keeps sockets of the network from being made, and others from being
given a limit, which ends them as a signal does. Neither can be taken back, and what the model starts inherits both.
What this kernel lacks is left out; `cloche doctor` tells by trying.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import stat
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NO_NETWORK = 'models have no network here: workers.network is "deny"'
NO_WRITES = (
    "Models write to their own temporary folder (tempfile.gettempdir()), and to the folders of workers.writable."
)

_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2

_CAPABILITY_VERSION = 0x20080522
_OPENING_FILES = 0b110

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PATH_BENEATH = struct.Struct("=Qi")
"""What is allowed, and the folder or file that it is allowed in and below."""
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_REMOVE_AND_MAKE = 0b1_1111_1111 << 4
_REFER = 1 << 13
_BIND_AND_CONNECT_TCP = 0b11
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "nvidia*", "dri", "kfd")
"""Below `/dev`, what a model may write to: where nothing is kept, memory that is shared, terminals, GPUs."""

_SYSTEM_CALLS = {"x86_64": (0xC000003E, 41, 302), "aarch64": (0xC00000B7, 198, 261)}
"""Processor -> its number in a filter, and the numbers of the system calls `socket` and `prlimit64`."""
_FIRST_X32 = 0x40000000
_IO_URING_SETUP = 425
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_AT_CALL, _AT_PROCESSOR, _AT_FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_NOT_PERMITTED, _DENIED, _ABSENT = _REFUSE | 1, _REFUSE | 13, _REFUSE | 38
_AF_UNIX, _AF_NETLINK = 1, 16
"""Local families: the C library asks the second for the addresses of this host."""


def confine(told: Mapping[str, Any]) -> None:
    """Give up, for good, what a model does not need. Call it while there is one thread.

    Args:
        told: `network`: whether sockets of the network may be made; `writable`: the folders that may be written to,
            or None for all.
    """
    network: bool = told["network"]
    writable: list[str] | None = told["writable"]
    if not network:
        sys.addaudithook(_refuse_network)
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    _drop_capabilities(libc)
    _restrict(libc, writable, network)
    _filter_calls(libc, network)


def hint(error: BaseException) -> str:
    """Return a line for an author whose model was kept from writing, or nothing."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, PermissionError) and cause.filename):
        cause = cause.__cause__ or cause.__context__
    return "" if cause is None else f"{NO_WRITES}\n"


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Say why, where Python code asks; that it is not possible is seen to by the kernel."""
    if event == "socket.__new__" and arguments[1] in (socket.AF_INET, socket.AF_INET6):
        raise PermissionError(13, NO_NETWORK)
    if event == "socket.getaddrinfo":
        raise socket.gaierror(socket.EAI_FAIL, NO_NETWORK)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Keep of root's privileges that files of others can be opened. Most of the rest would undo what follows."""
    header = _CapabilityHeader(_CAPABILITY_VERSION, 0)
    halves = (_Capabilities * 2)()
    if libc.capget(ctypes.byref(header), halves) != 0:
        return
    kept = halves[0].permitted & _OPENING_FILES
    halves[0] = _Capabilities(kept, kept, 0)
    halves[1] = _Capabilities(0, 0, 0)
    libc.capset(ctypes.byref(header), halves)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


def _restrict(libc: ctypes.CDLL, writable: list[str] | None, network: bool) -> None:
    """Enter a domain of Landlock, as far as this kernel knows it (its versions are numbered)."""
    version = libc.syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    if version < 1:
        return
    files = 0 if writable is None else _write_rights(version)
    net = _BIND_AND_CONNECT_TCP if version >= 4 and not network else 0
    scoped = _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0
    if not files | net | scoped:
        return
    asked = _Ruleset(files, net, scoped)
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(asked), 8 if version < 4 else 16 if version < 6 else 24, 0)
    if ruleset < 0:
        return
    for folder in [*map(Path, writable), *_devices()] if writable is not None else ():
        _allow(libc, ruleset, folder, files)
    libc.syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _write_rights(version: int) -> int:
    """Return every right to change something, of those that this version of Landlock knows."""
    rights = _WRITE_FILE | _REMOVE_AND_MAKE
    return rights | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)


def _devices() -> Iterator[Path]:
    for name in _DEVICES:
        yield from Path("/dev").glob(name)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, files: int) -> None:
    with suppress(OSError), _opened(path) as place:
        is_folder = stat.S_ISDIR(os.fstat(place).st_mode)
        rule = _PATH_BENEATH.pack(files if is_folder else files & (_WRITE_FILE | _TRUNCATE), place)
        libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield place
    finally:
        os.close(place)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def _filter_calls(libc: ctypes.CDLL, network: bool) -> None:
    """Have the kernel refuse limits for other processes; and, without a network, sockets of all but local families."""
    known = _SYSTEM_CALLS.get(platform.machine())
    if known is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        return
    steps = _filter(*known, network)
    program = _Program(len(steps) // 8, steps)
    libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(program))


def _filter(processor: int, socket_call: int, limit_call: int, network: bool) -> bytes:
    """Return a program for the kernel: steps of code, how many to skip if so and if not, and a number."""
    sockets = (
        (_IF_EQUAL, 0, 1, _IO_URING_SETUP),  # a ring makes sockets without that call
        (_RETURN, 0, 0, _ABSENT),
        (_IF_EQUAL, 0, 5, socket_call),
        (_LOAD, 0, 0, _AT_FIRST_ARGUMENT),
        (_IF_EQUAL, 2, 0, _AF_UNIX),
        (_IF_EQUAL, 1, 0, _AF_NETLINK),
        (_RETURN, 0, 0, _DENIED),
        (_RETURN, 0, 0, _ALLOW),
    )
    steps = (
        (_LOAD, 0, 0, _AT_PROCESSOR),
        (_IF_EQUAL, 1, 0, processor),
        (_RETURN, 0, 0, _DENIED),
        (_LOAD, 0, 0, _AT_CALL),
        (_IF_AT_LEAST, 0, 1, _FIRST_X32),
        (_RETURN, 0, 0, _ABSENT),
        *(() if network else sockets),
        (_IF_EQUAL, 0, 3, limit_call),
        (_LOAD, 0, 0, _AT_FIRST_ARGUMENT),
        (_IF_EQUAL, 1, 0, 0),  # its own
        (_RETURN, 0, 0, _NOT_PERMITTED),
        (_RETURN, 0, 0, _ALLOW),
    )
    return b"".join(struct.pack("=HBBI", *step) for step in steps)

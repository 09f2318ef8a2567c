"""Ways to damage what lies in a folder, drawn at random: what a bad disk does, and what a bad neighbor does."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path


def flip(path: Path, others: list[Path], chance: random.Random) -> None:
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def truncate(path: Path, others: list[Path], chance: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))])


def lengthen(path: Path, others: list[Path], chance: random.Random) -> None:
    path.write_bytes(path.read_bytes() + chance.randbytes(1 + chance.randrange(9)))


def swap(path: Path, others: list[Path], chance: random.Random) -> None:
    """Exchange it with another file of other content."""
    mine = path.read_bytes()
    other = chance.choice([each for each in others if each.read_bytes() != mine])
    path.write_bytes(other.read_bytes())
    other.write_bytes(mine)


def replace(path: Path, others: list[Path], chance: random.Random) -> None:
    """Put a copy of another file of other content in its place."""
    mine = path.read_bytes()
    path.write_bytes(chance.choice([each for each in others if each.read_bytes() != mine]).read_bytes())


def remove(path: Path, others: list[Path], chance: random.Random) -> None:
    path.unlink()


def link(path: Path, others: list[Path], chance: random.Random) -> None:
    """Put a link in its place that leads to the same content, for now."""
    aside = path.with_name(f"{path.name}.aside-{chance.randrange(10**6)}")
    path.rename(aside)
    path.symlink_to(aside)


def become_folder(path: Path, others: list[Path], chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path, others: list[Path], chance: random.Random) -> None:
    path.write_bytes(b"")


Damage = Callable[[Path, list[Path], random.Random], None]

DAMAGES: tuple[Damage, ...] = (flip, truncate, lengthen, swap, replace, remove, link, become_folder, empty)


def damage(folder: Path, kind: Damage, chance: random.Random) -> Path:
    """Damage one file below `folder` in a way; return which."""
    writable(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    path = chance.choice(files)
    kind(path, [each for each in files if each != path], chance)
    return path


def writable(folder: Path) -> None:
    """Let the owner change all of it again."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)


def restored(folder: Path, original: Path) -> None:
    """Make a folder what another one is, whatever has become of it."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        writable(folder)
        shutil.rmtree(folder)
    shutil.copytree(original, folder, symlinks=True)

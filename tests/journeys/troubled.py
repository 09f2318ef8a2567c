"""Versions that their authors have tried on narrow rectangles alone."""

from __future__ import annotations

import os
import time


def hang(row):
    if row["width"] > 1:
        time.sleep(3600)
    return row["width"] * row["height"]


def crash(row):
    if row["width"] > 1:
        os._exit(3)
    return row["width"] * row["height"]


def dawdle(row):
    if row["width"] > 1:
        time.sleep(0.3)
    return 1.5 * row["width"] * row["height"]

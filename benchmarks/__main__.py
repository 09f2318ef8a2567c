"""`make bench`: speed, each server alone on one core, asked from another.

Without options it is the short run, which renews the first part of benchmarks/RESULTS.md and the table of README.md.
With `--peers` it is the long one beside other model servers, each in an environment of its own.
"""

from __future__ import annotations

import argparse

from benchmarks import quick, versus
from benchmarks.machine import stay_off_the_servers_core
from benchmarks.servers import Failed


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--peers", action="store_true", help="the long run: five models, and other model servers")
    parser.add_argument("--rounds", type=int, help="7, and 3 with --peers")
    parser.add_argument("--seconds", type=float, help="of each measurement: 3, and 2 with --peers")
    parser.add_argument("--only", default="", metavar="NAMES", help="with --peers: parts of servers' names")
    parser.add_argument("--models", default="", metavar="NAMES", help="with --peers: parts of models' names")
    parser.add_argument("--report", action="store_true", help="write the page of the last run with --peers again")
    options = parser.parse_args()
    if not options.peers and (options.only or options.models):
        parser.error("--only and --models go with --peers")
    if options.report:
        versus.write()
        return
    stay_off_the_servers_core()
    if options.peers:
        names, models = _parts(options.only), _parts(options.models)
        versus.run(versus.Wanted(options.rounds or 3, options.seconds or 2.0, names, models))
        return
    try:
        quick.run(options.rounds or 7, options.seconds or 3.0)
    except Failed as failed:
        raise SystemExit(str(failed)) from None


def _parts(listed: str) -> list[str]:
    return [part.strip() for part in listed.split(",") if part.strip()]


if __name__ == "__main__":
    main()

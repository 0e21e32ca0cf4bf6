"""`python -m deploy [PROXY…] [--clients N] [--rounds N]`: a rolling restart behind each proxy, and its figures."""

from __future__ import annotations

import argparse
import ssl
import sys
import tempfile
from functools import partial
from pathlib import Path

import trio
import trustme

from .front import FRONTS, missing
from .rolling import Report, roll


def main() -> int:
    """Return the exit status: 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m deploy")
    parser.add_argument("proxies", nargs="*", default=[], help=f"of {', '.join(FRONTS)}; default: all")
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2, help="how often both servers are restarted")
    given = parser.parse_args()
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    lost = 0
    for name in given.proxies or FRONTS:
        if (reason := missing(name)) is not None:
            print(reason)
            continue
        with tempfile.TemporaryDirectory() as folder:
            certificate = Path(folder) / "site.pem"
            authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
            report = trio.run(
                partial(roll, name, Path(folder), certificate, context, clients=given.clients, rounds=given.rounds)
            )
        print(*lines_of(report), sep="\n", flush=True)
        lost += report.lost
    return 1 if lost else 0


def lines_of(report: Report) -> list[str]:
    endings = ", ".join(f"{word}: {number}" for word, number in sorted(report.endings.items()))
    away = f"{report.median_away:.2f} s (median), {report.longest_away:.2f} s (longest)"
    return [
        f"{report.proxy}: {report.clients} clients, {report.restarts} restarts",
        f"    endings          {endings}",
        f"    away             {away}, at most {report.longest_beyond:.2f} s longer than the backoff",
        f"    acknowledged     {report.acknowledged} messages; lost: {report.lost}; written twice: {report.twice}",
    ]


if __name__ == "__main__":
    sys.exit(main())

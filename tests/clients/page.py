"""Writes docs/CLIENTS.md from the results of a run. The same results give the same text: no times, no dates."""

import json

from harness import BUILT, HERE, ROOT
from matrix import CASES, CORE, ENVIRONMENTS, OWN_COLUMN, named

PAGE = ROOT / "docs" / "CLIENTS.md"

HEAD = """# Clients

<!-- Written by tests/clients/run --write. -->

What changes for an application is its base URL and its key. This table is the proof of it: released clients from
their registries, each in an environment of its own pinned by a lock file, driven through a gateway process with
the mock upstream behind it. Nothing in a client is patched, and nothing but the two is configured that its users
would not configure.

To run it: `tests/clients/run`, which is a step of `./check`. It fails when a case fails, and when this page is not
what it would write. `tests/clients/run --write` writes it. How the cases are built: tests/clients/README.md.

- **pass**: the case holds through the gateway.
- **not offered**: the client has no such feature; the reason is below the table.
- **as directly**: the case fails, and fails in the same way without the gateway; the reason is below the table.

Attempts are counted in the gateway's ledger, where every request has its row, refused or not. What the upstream saw
is counted in the mock's log. "As directly" is a comparison in the same test: the client asks the mock itself, too,
and must raise the same error with the same text.
"""


class Results:
    """What became of every case: environment -> (case, api) -> result."""

    def __init__(self):
        self.of = {}

    def read(self, environment, file):
        lines = file.read_text().splitlines() if file.exists() else []
        found = (json.loads(line) for line in lines)
        self.of[environment.key] = {(one["case"], one["api"]): one for one in found}

    def get(self, environment, case, api):
        return self.of.get(environment.key, {}).get((case, api))

    def failed(self, environment):
        """Cells that failed, each with its reason."""
        cells = self.of.get(environment.key, {}).values()
        return {named(one["case"], one["api"]): one["why"] for one in cells if one["result"] == "failed"}

    def missing(self, environment):
        """What the matrix and the suite do not agree on."""
        tried = self.of.get(environment.key, {})
        cells = [(case, api) for api in environment.apis for case in CORE]
        lacking = [cell for cell in cells if cell not in tried and not environment.lack(*cell)]
        strange = [(case, api) for case, api in tried if case not in CASES or api not in environment.apis]
        return [f"{named(*cell)}: neither tried nor excused in matrix.py" for cell in lacking] + [
            f"{named(*cell)}: not in matrix.py" for cell in strange
        ]


def stored(environment):
    """Where the results of an environment's last run through a gateway are kept."""
    folder = BUILT / "results"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{environment.language}-{environment.name}.jsonl"


def page(results, versions):
    """The whole page. `versions` gives an environment's version."""
    families = list(dict.fromkeys(environment.family for environment in ENVIRONMENTS))
    parts = [HEAD, summary(results, versions)]
    for family in families:
        parts.append(section(family, [one for one in ENVIRONMENTS if one.family == family], results, versions))
    return "\n".join(parts)


def summary(results, versions):
    lines = ["## Summary", "", "| client | package | version | cases | pass | as directly |", "|---|---|---|---|---|---|"]
    for environment in ENVIRONMENTS:
        cells = results.of[environment.key].values()
        passed = sum(one["result"] == "passed" for one in cells)
        runtime = f", Node {environment.node}" if environment.node else ""
        lines.append(
            f"| {environment.family}{runtime} | `{environment.package}` | {versions[environment.key]} |"
            f" {len(cells)} | {passed} | {len(cells) - passed} |"
        )
    return "\n".join([*lines, ""])


def section(family, environments, results, versions):
    columns = [(environment, api) for environment in environments for api in environment.apis]
    titles = [" ".join(filter(None, [versions[environment.key], api])) for environment, api in columns]
    lines = [f"## {family}", "", f"| case | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    reasons, alike, seen = {}, {}, {}
    for case, title in CASES.items():
        cells = [results.get(environment, case, api) for environment, api in columns]
        lacks = [environment.lack(case, api) for environment, api in columns]
        if not any(cells) and all(lack in (None, OWN_COLUMN) for lack in lacks):
            continue
        lines.append(f"| {title} | {' | '.join(map(word, cells))} |")
        for name, cell, lack, (environment, api) in zip(titles, cells, lacks, columns):
            excuse = environment.excuse(case, api)
            if excuse:
                alike.setdefault((title, excuse), []).append(name)
            elif cell is None:
                reasons.setdefault((title, lack or "not an API of this client"), []).append(name)
            elif cell["saw"]:
                seen.setdefault((title, cell["saw"]), []).append(name)
    lines.append("")
    lines += notes("What its user sees:", seen, titles)
    lines += notes("Fails in the same way without the gateway:", alike, titles)
    lines += notes("Not offered:", reasons, titles)
    return "\n".join(lines)


def word(cell):
    if cell is None:
        return "not offered"
    return "pass" if cell["result"] == "passed" else "as directly"


def notes(heading, texts, titles):
    """Texts with the columns they hold for, unless they hold for all."""
    lines = []
    for (title, text), names in texts.items():
        where = "" if len(names) == len(titles) else f" ({', '.join(names)})"
        lines.append(f"- {title}: {text}{where}")
    return [heading, "", *lines, ""] if lines else []


def version(environment):
    """The pinned version of an environment's package."""
    locks = HERE / environment.language / "locks"
    if environment.node:
        packages = json.loads((locks / environment.name / "package-lock.json").read_text())["packages"]
        return packages[f"node_modules/{environment.package}"]["version"]
    pins = (locks / f"{environment.name}.txt").read_text().splitlines()
    return next(pin.split("==")[1] for pin in pins if pin.startswith(f"{environment.package}=="))

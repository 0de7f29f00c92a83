"""Writes each case's result for the matrix: `test_CASE`, or `test_CASE[API]` where a client has several."""

import json
import os

import pytest


@pytest.fixture
def saw(record_property):
    """Notes what the client's user sees in this case; docs/CLIENTS.md shows it."""
    return lambda text: record_property("saw", text)


def pytest_runtest_logreport(report):
    if report.when != "call" and report.outcome == "passed":
        return
    name, _, api = report.nodeid.split("::")[-1].removeprefix("test_").rstrip("]").partition("[")
    result = {
        "case": name,
        "api": api,
        "result": report.outcome,
        "saw": dict(report.user_properties).get("saw", ""),
        "why": " ".join(report.longrepr.reprcrash.message.split()) if report.failed else "",
    }
    with open(os.environ["CLIENT_RESULTS"], "a", encoding="utf-8") as results:
        results.write(json.dumps(result) + "\n")

"""What every client test needs: who asks, which model, and the mock's own book."""

import json
import os
import time

import anthropic
import openai
import pytest

URL = os.environ["TOLLGATE_URL"]
DIRECT = os.environ.get("TOLLGATE_DIRECT") == "1"
KEY = os.environ["TOLLGATE_KEY"]

CHAT_MODEL = "gpt-4o-mini"
EMBEDDING_MODEL = "text-embedding-3-small"
CLAUDE_MODEL = "claude-haiku-4-5"
HELLO = [{"role": "user", "content": "say hello"}]


class Refused:
    """A key and a model for which the answer is a refusal. Asked directly, the mock imitates it."""

    def __init__(self, key, imitation, model):
        self.key = KEY if DIRECT else key
        self.model = imitation if DIRECT else model


def refused(status, model):
    if status == 401:
        return Refused("sk-nobody-has-this-key", "mock-status=401", model)
    if status == 402:
        return Refused(os.environ["TOLLGATE_SPENT_KEY"], "mock-status=402", model)
    return Refused(os.environ["TOLLGATE_SLOW_KEY"], "mock-status=429+retry-after=7", model)


class Counted:
    """A client that counts its attempts."""

    def __init__(self, kind, default_http, **options):
        self.attempts = 0
        http = default_http(event_hooks={"request": [self._count]})
        self.client = kind(http_client=http, **options)

    def _count(self, _request):
        self.attempts += 1


@pytest.fixture
def openai_client():
    """Makes an OpenAI client for a key; retries as it does by default unless told otherwise."""

    def make(key=KEY, **options):
        return Counted(openai.OpenAI, openai.DefaultHttpxClient, base_url=f"{URL}/v1", api_key=key, **options)

    return make


@pytest.fixture
def anthropic_client():
    """Makes an Anthropic client for a key; its base URL has no /v1, the SDK adds it."""

    def make(key=KEY, **options):
        return Counted(anthropic.Anthropic, anthropic.DefaultHttpxClient, base_url=URL, api_key=key, **options)

    return make


def served_end(model, patience=20.0):
    """How the mock's answer to `model`, a name used once, ended. Waits, since it ends after the client."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with open(os.environ["MOCK_LOG"], encoding="utf-8") as log:
            lines = [json.loads(line) for line in log if line.endswith("\n")]
        ids = {line["served"]["id"] for line in lines if line["event"] == "begin" and line["served"]["model"] == model}
        ends = [line["end"] for line in lines if line["event"] == "end" and line["id"] in ids]
        if ends:
            return ends[-1]
        time.sleep(0.05)
    raise AssertionError(f"the mock never finished its answer to {model}")


def until_refused(call, error, tries=5):
    """Calls until the rate limit holds."""
    for _ in range(tries):
        try:
            call()
        except error as refusal:
            return refusal
    raise AssertionError(f"not refused in {tries} calls")


def assert_retry_after(headers):
    """True to the second and below a minute: some SDKs sleep as long as they are told."""
    assert 1 <= int(headers["retry-after"]) < 60

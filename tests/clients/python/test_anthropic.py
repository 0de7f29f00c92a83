"""The official Anthropic SDK for Python; its base URL has no /v1, the SDK adds it."""

import json
import time

import anthropic
from callers import (
    CLAUDE_MODEL,
    DIRECT,
    KEY,
    URL,
    WEATHER,
    Question,
    assert_retry_after,
    barred,
    limited,
    raised,
    said,
    same_as_directly,
    spent,
    unknown,
)

TOOL = {"name": "weather", "input_schema": WEATHER}


def client(key=KEY, url=URL, **options):
    return anthropic.Anthropic(base_url=url, api_key=key, **options)


def ask(question, asking=None, **more):
    asking = asking or client()
    return asking.messages.create(model=CLAUDE_MODEL, max_tokens=64, messages=question.messages, **more)


def test_chat():
    answer = ask(Question())
    assert answer.stop_reason == "end_turn"
    assert len(answer.content[0].text.split()) == answer.usage.output_tokens
    assert answer._request_id


def test_stream():
    question = Question()
    with client().messages.stream(model=CLAUDE_MODEL, max_tokens=64, messages=question.messages) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text
    assert final.usage.output_tokens == len(text.split())


def test_tools():
    answer = ask(Question(), tools=[TOOL], tool_choice={"type": "any"})
    assert answer.stop_reason == "tool_use"
    assert answer.content[0].name == "weather"
    assert answer.content[0].input["city"]


def test_streamed_tools():
    events = list(ask(Question(), tools=[TOOL], tool_choice={"type": "any"}, stream=True))
    parts = [event.delta.partial_json for event in events if event.type == "content_block_delta"]
    assert json.loads("".join(parts))["city"]


def test_structured_output():
    answer = ask(Question(), output_config={"format": {"type": "json_schema", "schema": WEATHER}})
    assert json.loads(answer.content[0].text)["city"]


def test_count_tokens():
    counted = client().messages.count_tokens(model=CLAUDE_MODEL, messages=Question().messages)
    assert counted.input_tokens > 0


def test_cancellation():
    question = Question("stall=5:60s+out=43")
    stream = ask(question, stream=True)
    assert next(iter(stream)).type == "message_start"
    stream.close()
    assert question.ended() == "client_gone"


def test_upstream_429():
    question, begun = Question("status=429:1+retry-after=2"), time.monotonic()
    assert ask(question).content
    assert question.statuses() == [429, 200]
    assert time.monotonic() - begun >= 2


def test_upstream_429_raised(saw):
    question = Question("status=429+retry-after=7")
    error = same_as_directly(
        lambda url: ask(question, client(url=url, max_retries=0)), anthropic.RateLimitError
    )
    headers = error.response.headers
    assert (headers["retry-after"], headers["anthropic-ratelimit-requests-limit"]) == ("7", "4000")
    saw(f"{said(error)}, headers in `e.response.headers`")


def test_stream_error(saw):
    question = Question("error-frame=4")
    error = same_as_directly(
        lambda url: list(ask(question, client(url=url), stream=True)), anthropic.APIError
    )
    saw(said(error))


def test_stream_cut(saw):
    question = Question("cut=900")
    saw(said(same_as_directly(lambda url: list(ask(question, client(url=url), stream=True)))))


def test_spent_budget(saw):
    caller = spent()
    error = raised(anthropic.APIStatusError, lambda: ask(caller.question, client(caller.key)))
    assert (error.status_code, error.body["error"]["type"]) == (402, "billing_error")
    if not DIRECT:
        assert "retry-after" not in error.response.headers
    assert caller.attempts() == 1
    saw(said(error))


def test_spent_budget_stream():
    caller = spent()
    error = raised(anthropic.APIStatusError, lambda: ask(caller.question, client(caller.key), stream=True))
    assert (error.status_code, caller.attempts()) == (402, 1)


def test_rate_limit():
    caller = limited()
    asking = client(caller.key)
    caller.use_up()
    assert ask(caller.question, asking).content
    assert caller.attempts() == 2


def test_rate_limit_raised(saw):
    caller = limited()
    asking = client(caller.key, max_retries=0)
    caller.use_up()
    error = raised(anthropic.RateLimitError, lambda: ask(caller.question, asking))
    assert error.body["error"]["type"] == "rate_limit_error"
    assert_retry_after(error.response.headers["retry-after"])
    assert caller.attempts() == 1
    saw(said(error))


def test_unknown_key(saw):
    caller = unknown()
    error = raised(anthropic.AuthenticationError, lambda: ask(caller.question, client(caller.key)))
    assert (error.body["error"]["type"], caller.attempts()) == ("authentication_error", 1)
    saw(said(error))


def test_model_not_allowed(saw):
    caller = barred()
    error = raised(anthropic.PermissionDeniedError, lambda: ask(caller.question, client(caller.key)))
    assert (error.body["error"]["type"], caller.attempts()) == ("permission_error", 1)
    saw(said(error))

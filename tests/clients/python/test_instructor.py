"""Instructor on the OpenAI client: objects by tool calls, by JSON schema, and by Responses."""

import time

import instructor
import openai
import pydantic
from callers import (
    CHAT_MODEL,
    KEY,
    URL,
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
from instructor import Mode


class Place(pydantic.BaseModel):
    city: str


def client(key=KEY, url=URL, mode=Mode.TOOLS, **options):
    return instructor.from_openai(openai.OpenAI(base_url=f"{url}/v1", api_key=key, **options), mode=mode)


def ask(question, asking=None, kind=Place, **more):
    asking = asking or client()
    return asking.chat.completions.create(
        model=CHAT_MODEL, messages=question.messages, response_model=kind, **more
    )


def read(question, asking=None):
    asking = asking or client()
    partial = asking.chat.completions.create_partial
    return list(partial(model=CHAT_MODEL, messages=question.messages, response_model=Place))


def behind(error):
    """The client's own error, which instructor wraps after its attempts."""
    while error.__cause__ is not None and not hasattr(error, "status_code"):
        error = error.__cause__
    return error


def test_chat():
    answer = ask(Question(), kind=None)
    assert len(answer.choices[0].message.content.split()) == answer.usage.completion_tokens


def test_stream():
    assert read(Question(), client(mode=Mode.JSON_SCHEMA))[-1].city


def test_tools():
    assert ask(Question()).city


def test_streamed_tools():
    assert read(Question())[-1].city


def test_structured_output():
    assert ask(Question(), client(mode=Mode.JSON_SCHEMA)).city


def test_responses():
    asking = client(mode=Mode.RESPONSES_TOOLS)
    found = asking.responses.create(model=CHAT_MODEL, input=Question().text, response_model=Place)
    assert found.city


def test_upstream_429():
    question, begun = Question("status=429:1+retry-after=2"), time.monotonic()
    assert ask(question).city
    assert question.statuses() == [429, 200]
    assert time.monotonic() - begun >= 2


def test_upstream_429_raised(saw):
    question = Question("status=429+retry-after=7")
    error = same_as_directly(lambda url: ask(question, client(url=url, max_retries=0), max_retries=0))
    assert behind(error).response.headers["retry-after"] == "7"
    saw(f"{said(error)} from {said(behind(error))}, headers in its `response.headers`")


def test_stream_error(saw):
    question = Question("error-frame=3")
    saw(said(same_as_directly(lambda url: read(question, client(url=url)))))


def test_stream_cut(saw):
    question = Question("cut=900")
    saw(said(same_as_directly(lambda url: read(question, client(url=url)))))


def test_spent_budget(saw):
    caller = spent()
    error = raised(Exception, lambda: ask(caller.question, client(caller.key)))
    assert behind(error).status_code == 402
    assert caller.attempts() == 1
    saw(f"{said(error)} from {said(behind(error))}")


def test_rate_limit():
    caller = limited()
    asking = client(caller.key)
    caller.use_up()
    assert ask(caller.question, asking).city
    assert caller.attempts() == 2


def test_rate_limit_raised(saw):
    caller = limited()
    asking = client(caller.key, max_retries=0)
    caller.use_up()
    error = raised(Exception, lambda: ask(caller.question, asking, max_retries=0))
    assert_retry_after(behind(error).response.headers["retry-after"])
    assert caller.attempts() == 1
    saw(f"{said(error)} from {said(behind(error))}")


def test_unknown_key(saw):
    caller = unknown()
    error = raised(Exception, lambda: ask(caller.question, client(caller.key)))
    assert (behind(error).status_code, caller.attempts()) == (401, 1)
    saw(f"{said(error)} from {said(behind(error))}")


def test_model_not_allowed(saw):
    caller = barred()
    error = raised(Exception, lambda: ask(caller.question, client(caller.key)))
    assert (behind(error).status_code, caller.attempts()) == (403, 1)
    saw(f"{said(error)} from {said(behind(error))}")

"""The official OpenAI SDK for Python."""

import json
import time

import openai
from callers import (
    CHAT_MODEL,
    DIRECT,
    EMBEDDING_MODEL,
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

TOOL = {"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}


def client(key=KEY, url=URL, **options):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, **options)


def chat(question, asking=None, **more):
    asking = asking or client()
    return asking.chat.completions.create(model=CHAT_MODEL, messages=question.messages, **more)


def test_chat():
    answer = chat(Question())
    assert answer.model == CHAT_MODEL
    assert len(answer.choices[0].message.content.split()) == answer.usage.completion_tokens
    assert answer._request_id


def test_stream():
    chunks = list(chat(Question(), stream=True))
    assert all(chunk.choices and "usage" not in chunk.model_fields_set for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_stream_usage():
    chunks = list(chat(Question(), stream=True, stream_options={"include_usage": True}))
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks[:-1])
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == len(text.split())


def test_tools():
    call = chat(Question(), tools=[TOOL], tool_choice="required").choices[0].message.tool_calls[0].function
    assert call.name == "weather"
    assert json.loads(call.arguments)["city"]


def test_streamed_tools():
    chunks = list(chat(Question(), tools=[TOOL], tool_choice="required", stream=True))
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert calls[0].function.name == "weather"
    assert json.loads("".join(call.function.arguments for call in calls))["city"]


def test_structured_output():
    schema = {"name": "place", "schema": WEATHER, "strict": True}
    answer = chat(Question(), response_format={"type": "json_schema", "json_schema": schema})
    assert json.loads(answer.choices[0].message.content)["city"]


def test_embeddings():
    answer = client().embeddings.create(model=EMBEDDING_MODEL, input=["one", "two words"])
    assert [len(item.embedding) for item in answer.data] == [1536, 1536]
    assert answer.usage.total_tokens == 3


def test_responses():
    answer = client().responses.create(model=CHAT_MODEL, input=Question().text)
    assert len(answer.output_text.split()) == answer.usage.output_tokens


def test_responses_stream():
    with client().responses.stream(model=CHAT_MODEL, input=Question().text) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text
    assert final.usage.output_tokens == len(text.split())


def test_models():
    assert CHAT_MODEL in [model.id for model in client().models.list()]


def test_cancellation():
    question = Question("stall=5:60s+out=41")
    stream = chat(question, stream=True)
    assert next(stream).choices[0].delta.role == "assistant"
    stream.close()
    assert question.ended() == "client_gone"


def test_upstream_429():
    question, begun = Question("status=429:1+retry-after=2"), time.monotonic()
    assert chat(question).choices
    assert question.statuses() == [429, 200]
    assert time.monotonic() - begun >= 2


def test_upstream_429_raised(saw):
    question = Question("status=429+retry-after=7")
    error = same_as_directly(
        lambda url: chat(question, client(url=url, max_retries=0)), openai.RateLimitError
    )
    headers = error.response.headers
    assert (headers["retry-after"], headers["x-ratelimit-limit-requests"]) == ("7", "10000")
    assert question.statuses() == [429, 429]
    saw(f"{said(error)}, headers in `e.response.headers`")


def test_stream_error(saw):
    question = Question("error-frame=4")
    error = same_as_directly(
        lambda url: list(chat(question, client(url=url), stream=True)), openai.APIError
    )
    assert error.code == "server_error"
    saw(said(error))


def test_responses_stream_error(saw):
    question = Question("error-frame=6")
    error = same_as_directly(
        lambda url: list(client(url=url).responses.create(model=CHAT_MODEL, input=question.text, stream=True)),
        openai.APIError,
    )
    saw(said(error))


def test_stream_cut(saw):
    question = Question("cut=900")
    error = same_as_directly(lambda url: list(chat(question, client(url=url), stream=True)))
    saw(said(error))


def test_spent_budget(saw):
    caller = spent()
    error = raised(openai.APIStatusError, lambda: chat(caller.question, client(caller.key)))
    assert (error.status_code, error.code, error.type) == (402, "insufficient_quota", "insufficient_quota")
    if not DIRECT:
        assert error.response.headers["x-should-retry"] == "false"
        assert "retry-after" not in error.response.headers
        assert {"scope", "spent", "reserved", "limit", "resets_at"} <= error.body.keys()
    assert caller.attempts() == 1
    saw(f"{said(error)}, `e.code` is `insufficient_quota`")


def test_spent_budget_stream():
    caller = spent()
    error = raised(openai.APIStatusError, lambda: chat(caller.question, client(caller.key), stream=True))
    assert (error.status_code, caller.attempts()) == (402, 1)


def test_rate_limit():
    caller = limited()
    asking = client(caller.key)
    caller.use_up()
    assert chat(caller.question, asking).choices
    assert caller.attempts() == 2


def test_rate_limit_raised(saw):
    caller = limited()
    asking = client(caller.key, max_retries=0)
    caller.use_up()
    error = raised(openai.RateLimitError, lambda: chat(caller.question, asking))
    assert error.code == "rate_limit_exceeded"
    assert_retry_after(error.response.headers["retry-after"])
    assert caller.attempts() == 1
    saw(said(error))


def test_unknown_key(saw):
    caller = unknown()
    error = raised(openai.AuthenticationError, lambda: chat(caller.question, client(caller.key)))
    assert (error.code, caller.attempts()) == ("invalid_api_key", 1)
    saw(said(error))


def test_model_not_allowed(saw):
    caller = barred()
    error = raised(openai.PermissionDeniedError, lambda: chat(caller.question, client(caller.key)))
    assert (error.status_code, caller.attempts()) == (403, 1)
    saw(said(error))

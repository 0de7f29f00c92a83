"""LiteLLM as a client: `completion` by chat and by Anthropic's messages, `embedding` and `responses`."""

import gc
import json
import os
import time

import pytest
from callers import (
    CHAT_MODEL,
    CLAUDE_MODEL,
    EMBEDDING_MODEL,
    KEY,
    URL,
    WEATHER,
    Question,
    barred,
    limited,
    raised,
    said,
    same_as_directly,
    spent,
    unknown,
)

# its own prices would be fetched from a public host on import
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm  # noqa: E402

TOOL = {"type": "function", "function": {"name": "weather", "description": "Looks out", "parameters": WEATHER}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "place", "schema": WEATHER, "strict": True}}


def chat(question, key=KEY, url=URL, **more):
    return litellm.completion(
        model=f"openai/{CHAT_MODEL}", api_base=f"{url}/v1", api_key=key, messages=question.messages, **more
    )


def messages(question, key=KEY, url=URL, **more):
    return litellm.completion(
        model=f"anthropic/{CLAUDE_MODEL}", api_base=url, api_key=key, messages=question.messages, **more
    )


@pytest.fixture(params=[chat, messages], ids=lambda ask: ask.__name__)
def ask(request):
    """Asks by one of the APIs."""
    return request.param


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_chat(ask):
    answer = ask(Question())
    assert len(answer.choices[0].message.content.split()) == answer.usage.completion_tokens


def test_stream(ask):
    assert text_of(ask(Question(), stream=True))


def test_stream_usage(ask):
    chunks = list(ask(Question(), stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage.completion_tokens == len(text_of(chunks).split())


def test_tools(ask):
    call = ask(Question(), tools=[TOOL], tool_choice="required").choices[0].message.tool_calls[0].function
    assert call.name == "weather"
    assert json.loads(call.arguments)["city"]


def test_streamed_tools(ask):
    chunks = list(ask(Question(), tools=[TOOL], tool_choice="required", stream=True))
    call = litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls[0].function
    assert call.name == "weather"
    assert json.loads(call.arguments)["city"]


def test_structured_output(ask):
    answer = ask(Question(), response_format=SCHEMA)
    assert json.loads(answer.choices[0].message.content)["city"]


@pytest.mark.parametrize("embed", [litellm.embedding], ids=["chat"])
def test_embeddings(embed):
    answer = embed(model=f"openai/{EMBEDDING_MODEL}", api_base=f"{URL}/v1", api_key=KEY, input=["one"])
    assert len(answer.data[0]["embedding"]) == 1536


@pytest.mark.parametrize("ask", [litellm.responses], ids=["chat"])
def test_responses(ask):
    answer = ask(model=f"openai/{CHAT_MODEL}", api_base=f"{URL}/v1", api_key=KEY, input=Question().text)
    assert len(answer.output[0].content[0].text.split()) == answer.usage.output_tokens


def test_cancellation(ask):
    question = Question("stall=8:60s+out=41")
    stream = ask(question, stream=True)
    next(iter(stream))
    # it has no way of its own to be closed; what it reads from has one by chat
    getattr(stream.completion_stream, "close", lambda: None)()
    del stream
    gc.collect()
    assert question.ended() == "client_gone"


@pytest.mark.parametrize("ask", [chat], ids=["chat"])
def test_upstream_429(ask):
    question, begun = Question("status=429:1+retry-after=2"), time.monotonic()
    assert ask(question, num_retries=2).choices
    assert question.statuses() == [429, 200]
    assert time.monotonic() - begun >= 2


def test_upstream_429_raised(ask, saw):
    question = Question("status=429+retry-after=7")
    error = same_as_directly(lambda url: ask(question, url=url, max_retries=0), litellm.RateLimitError)
    saw(said(error))


def test_stream_error(ask, saw):
    question = Question("error-frame=6")
    saw(said(same_as_directly(lambda url: list(ask(question, url=url, stream=True)))))


def test_stream_cut(ask, saw):
    question = Question("cut=2500+out=60")
    saw(said(same_as_directly(lambda url: list(ask(question, url=url, stream=True)))))


def test_spent_budget(ask, saw):
    caller = spent()
    error = raised(Exception, lambda: ask(caller.question, caller.key))
    assert caller.attempts() == 1
    assert "402" in str(error) or error.status_code == 402
    saw(said(error))


@pytest.mark.parametrize("ask", [chat], ids=["chat"])
def test_rate_limit(ask):
    caller = limited()
    caller.use_up()
    assert ask(caller.question, caller.key, num_retries=2).choices
    assert caller.attempts() == 2


def test_rate_limit_raised(ask, saw):
    caller = limited()
    caller.use_up()
    error = raised(litellm.RateLimitError, lambda: ask(caller.question, caller.key, max_retries=0))
    assert caller.attempts() == 1
    saw(said(error))


def test_unknown_key(ask, saw):
    caller = unknown()
    error = raised(litellm.AuthenticationError, lambda: ask(caller.question, caller.key))
    assert caller.attempts() == 1
    saw(said(error))


def test_model_not_allowed(ask, saw):
    caller = barred()
    error = raised(Exception, lambda: ask(caller.question, caller.key))
    assert (error.status_code, caller.attempts()) == (403, 1)
    saw(said(error))

"""LangChain for Python: `ChatOpenAI` by chat and by Responses, and `ChatAnthropic`."""

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
    assert_retry_after,
    barred,
    limited,
    raised,
    said,
    same_as_directly,
    spent,
    unknown,
)
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

TOOL = {"type": "function", "function": {"name": "weather", "description": "Looks out", "parameters": WEATHER}}
SCHEMA = {"title": "weather", "description": "Where to look", **WEATHER}


def chat(key=KEY, url=URL, **options):
    return ChatOpenAI(model=CHAT_MODEL, base_url=f"{url}/v1", api_key=key, **options)


def responses(key=KEY, url=URL, **options):
    return chat(key, url, use_responses_api=True, **options)


def messages(key=KEY, url=URL, **options):
    return ChatAnthropic(model=CLAUDE_MODEL, base_url=url, api_key=key, max_tokens=64, **options)


@pytest.fixture(params=[chat, responses, messages], ids=lambda make: make.__name__)
def model(request):
    """Makes a model that asks by one of the APIs."""
    return request.param


def read(asked, question):
    chunks = list(asked.stream(question.text))
    return sum(chunks[1:], chunks[0])


def test_chat(model):
    answer = model().invoke(Question().text)
    assert len(answer.text.split()) == answer.usage_metadata["output_tokens"]


def test_stream(model):
    assert read(model(), Question()).text


def test_stream_usage(model):
    answer = read(model(stream_usage=True), Question())
    assert len(answer.text.split()) == answer.usage_metadata["output_tokens"]


def test_tools(model):
    answer = model().bind_tools([TOOL], tool_choice="any").invoke(Question().text)
    assert answer.tool_calls[0]["name"] == "weather"
    assert answer.tool_calls[0]["args"]["city"]


def test_streamed_tools(model):
    answer = read(model().bind_tools([TOOL], tool_choice="any"), Question())
    assert answer.tool_calls[0]["name"] == "weather"
    assert answer.tool_calls[0]["args"]["city"]


def test_structured_output(model):
    asked = model().with_structured_output(SCHEMA, method="json_schema")
    assert asked.invoke(Question().text)["city"]


@pytest.mark.parametrize("make", [OpenAIEmbeddings], ids=["chat"])
def test_embeddings(make):
    asked = make(model=EMBEDDING_MODEL, base_url=f"{URL}/v1", api_key=KEY, check_embedding_ctx_length=False)
    assert len(asked.embed_query("one")) == 1536


def test_cancellation(model):
    question = Question("stall=8:60s+out=41")
    stream = model().stream(question.text)
    next(stream)
    stream.close()
    assert question.ended() == "client_gone"


def test_upstream_429(model):
    question, begun = Question("status=429:1+retry-after=2"), time.monotonic()
    assert model().invoke(question.text).text
    assert question.statuses() == [429, 200]
    assert time.monotonic() - begun >= 2


def test_upstream_429_raised(model, saw):
    question = Question("status=429+retry-after=7")
    error = same_as_directly(lambda url: model(url=url, max_retries=0).invoke(question.text))
    assert error.response.headers["retry-after"] == "7"
    saw(f"{said(error)}, headers in `e.response.headers`")


def test_stream_error(model, saw):
    question = Question("error-frame=6")
    saw(said(same_as_directly(lambda url: read(model(url=url), question))))


def test_stream_cut(model, saw):
    question = Question("cut=2500+out=60")
    saw(said(same_as_directly(lambda url: read(model(url=url), question))))


def test_spent_budget(model, saw):
    caller = spent()
    error = raised(Exception, lambda: model(caller.key).invoke(caller.question.text))
    assert (error.status_code, caller.attempts()) == (402, 1)
    saw(said(error))


def test_spent_budget_stream(model):
    caller = spent()
    error = raised(Exception, lambda: read(model(caller.key), caller.question))
    assert (error.status_code, caller.attempts()) == (402, 1)


def test_rate_limit(model):
    caller = limited()
    asking = model(caller.key)
    caller.use_up()
    assert asking.invoke(caller.question.text).text
    assert caller.attempts() == 2


def test_rate_limit_raised(model, saw):
    caller = limited()
    asking = model(caller.key, max_retries=0)
    caller.use_up()
    error = raised(Exception, lambda: asking.invoke(caller.question.text))
    assert error.status_code == 429
    assert_retry_after(error.response.headers["retry-after"])
    assert caller.attempts() == 1
    saw(said(error))


def test_unknown_key(model, saw):
    caller = unknown()
    error = raised(Exception, lambda: model(caller.key).invoke(caller.question.text))
    assert (error.status_code, caller.attempts()) == (401, 1)
    saw(said(error))


def test_model_not_allowed(model, saw):
    caller = barred()
    error = raised(Exception, lambda: model(caller.key).invoke(caller.question.text))
    assert (error.status_code, caller.attempts()) == (403, 1)
    saw(said(error))

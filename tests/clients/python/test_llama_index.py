"""LlamaIndex: its OpenAI models by chat and by Responses, the one for compatible servers, and its embeddings."""

import gc
import time

import pydantic
import pytest
from callers import (
    CHAT_MODEL,
    EMBEDDING_MODEL,
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
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike


class Place(pydantic.BaseModel):
    """A place."""

    city: str


def weather(city: str) -> str:
    """Looks out."""
    return f"rain in {city}"


def chat(key=KEY, url=URL, **options):
    return OpenAI(model=CHAT_MODEL, api_base=f"{url}/v1", api_key=key, **options)


def responses(key=KEY, url=URL, **options):
    return OpenAIResponses(model=CHAT_MODEL, api_base=f"{url}/v1", api_key=key, **options)


def compatible(key=KEY, url=URL, **options):
    chats = {"is_chat_model": True, "is_function_calling_model": True, "context_window": 128_000}
    return OpenAILike(model=CHAT_MODEL, api_base=f"{url}/v1", api_key=key, **chats, **options)


@pytest.fixture(params=[chat, responses, compatible], ids=lambda make: make.__name__)
def model(request):
    """Makes a model that asks by one of the APIs."""
    return request.param


def ask(asked, question):
    return asked.chat([ChatMessage(role="user", content=question.text)]).message.content


def read(asked, question):
    return list(asked.stream_chat([ChatMessage(role="user", content=question.text)]))[-1].message.content


def test_chat(model):
    assert ask(model(), Question())


def test_stream(model):
    assert read(model(), Question())


def test_tools(model):
    asked = model()
    tool = FunctionTool.from_defaults(weather)
    answer = asked.chat_with_tools([tool], user_msg=Question().text, tool_required=True)
    call = asked.get_tool_calls_from_response(answer)[0]
    assert call.tool_name == "weather"
    assert call.tool_kwargs["city"]


def test_streamed_tools(model):
    asked = model()
    tool = FunctionTool.from_defaults(weather)
    *_, answer = asked.stream_chat_with_tools([tool], user_msg=Question().text, tool_required=True)
    call = asked.get_tool_calls_from_response(answer)[0]
    assert call.tool_name == "weather"
    assert call.tool_kwargs["city"]


def test_structured_output(model):
    asked = model().as_structured_llm(Place)
    assert asked.chat([ChatMessage(role="user", content=Question().text)]).raw.city


@pytest.mark.parametrize("make", [OpenAIEmbedding], ids=["chat"])
def test_embeddings(make):
    asked = make(model=EMBEDDING_MODEL, api_base=f"{URL}/v1", api_key=KEY)
    assert len(asked.get_text_embedding("one")) == 1536


def test_cancellation(model):
    question = Question("stall=8:60s+out=41")
    stream = model().stream_chat([ChatMessage(role="user", content=question.text)])
    next(stream)
    # closing it is not enough: the client's own iterator ends when it is collected
    del stream
    gc.collect()
    assert question.ended() == "client_gone"


def test_upstream_429(model):
    question, begun = Question("status=429:1+retry-after=2"), time.monotonic()
    assert ask(model(), question)
    assert question.statuses() == [429, 200]
    assert time.monotonic() - begun >= 2


def test_upstream_429_raised(model, saw):
    question = Question("status=429+retry-after=7")
    error = same_as_directly(lambda url: ask(model(url=url, max_retries=0), question))
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
    error = raised(Exception, lambda: ask(model(caller.key), caller.question))
    assert (error.status_code, error.code, caller.attempts()) == (402, "insufficient_quota", 1)
    saw(f"{said(error)}, `e.code` is `insufficient_quota`")


def test_rate_limit(model):
    caller = limited()
    asking = model(caller.key)
    caller.use_up()
    assert ask(asking, caller.question)
    assert caller.attempts() == 2


def test_rate_limit_raised(model, saw):
    caller = limited()
    asking = model(caller.key, max_retries=0)
    caller.use_up()
    error = raised(Exception, lambda: ask(asking, caller.question))
    assert_retry_after(error.response.headers["retry-after"])
    assert caller.attempts() == 1
    saw(said(error))


def test_unknown_key(model, saw):
    caller = unknown()
    error = raised(Exception, lambda: ask(model(caller.key), caller.question))
    assert (error.status_code, caller.attempts()) == (401, 1)
    saw(said(error))


def test_model_not_allowed(model, saw):
    caller = barred()
    error = raised(Exception, lambda: ask(model(caller.key), caller.question))
    assert (error.status_code, caller.attempts()) == (403, 1)
    saw(said(error))

"""The OpenAI Agents SDK for Python: agents whose model asks by Responses or by chat."""

import asyncio
import time

import agents
import openai
import pydantic
import pytest
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
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

# traces go to OpenAI's own host, whatever the base URL is
agents.set_tracing_disabled(True)

MODELS = {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}


class Place(pydantic.BaseModel):
    city: str


@pytest.fixture(params=MODELS)
def agent(request):
    """Makes an agent that asks by one of the APIs."""

    def make(key=KEY, url=URL, retries=2, **options):
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries)
        model = MODELS[request.param](model=CHAT_MODEL, openai_client=client)
        return Agent(name="greeter", model=model, **options)

    return make


def run(asked, question):
    return Runner.run_sync(asked, question.text).final_output


def read(asked, question):
    """The text of a streamed run."""

    async def reading():
        text, result = "", Runner.run_streamed(asked, question.text)
        async for event in result.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                text += event.data.delta
        assert text == result.final_output
        return text

    return asyncio.run(reading())


def weather_of(calls):
    @function_tool
    def weather(city: str) -> str:
        """Looks out."""
        calls.append(city)
        return "rain"

    return weather


def test_chat(agent):
    result = Runner.run_sync(agent(), Question().text)
    assert len(result.final_output.split()) == result.context_wrapper.usage.output_tokens


def test_stream(agent):
    assert read(agent(), Question())


def test_tools(agent):
    calls = []
    required = ModelSettings(tool_choice="required")
    assert run(agent(tools=[weather_of(calls)], model_settings=required), Question())
    assert len(calls) == 1


def test_streamed_tools(agent):
    calls = []
    required = ModelSettings(tool_choice="required")
    assert read(agent(tools=[weather_of(calls)], model_settings=required), Question())
    assert len(calls) == 1


def test_structured_output(agent):
    assert run(agent(output_type=Place), Question()).city


def test_cancellation(agent):
    async def giving_up(question):
        result = Runner.run_streamed(agent(), question.text)
        async for event in result.stream_events():
            if event.type == "raw_response_event":
                result.cancel()

    question = Question("stall=8:60s+out=41")
    asyncio.run(giving_up(question))
    assert question.ended() == "client_gone"


def test_upstream_429(agent):
    question, begun = Question("status=429:1+retry-after=2"), time.monotonic()
    assert run(agent(), question)
    assert question.statuses() == [429, 200]
    assert time.monotonic() - begun >= 2


def test_upstream_429_raised(agent, saw):
    question = Question("status=429+retry-after=7")
    error = same_as_directly(lambda url: run(agent(url=url, retries=0), question), openai.RateLimitError)
    assert error.response.headers["retry-after"] == "7"
    saw(f"{said(error)}, headers in `e.response.headers`")


def test_stream_error(agent, saw):
    question = Question("error-frame=6")
    saw(said(same_as_directly(lambda url: read(agent(url=url), question))))


def test_stream_cut(agent, saw):
    question = Question("cut=2500+out=60")
    saw(said(same_as_directly(lambda url: read(agent(url=url), question))))


def test_spent_budget(agent, saw):
    caller = spent()
    error = raised(openai.APIStatusError, lambda: run(agent(caller.key), caller.question))
    assert (error.status_code, error.code, caller.attempts()) == (402, "insufficient_quota", 1)
    saw(f"{said(error)}, `e.code` is `insufficient_quota`")


def test_spent_budget_stream(agent):
    caller = spent()
    error = raised(openai.APIStatusError, lambda: read(agent(caller.key), caller.question))
    assert (error.status_code, caller.attempts()) == (402, 1)


def test_rate_limit(agent):
    caller = limited()
    asking = agent(caller.key)
    caller.use_up()
    assert run(asking, caller.question)
    assert caller.attempts() == 2


def test_rate_limit_raised(agent, saw):
    caller = limited()
    asking = agent(caller.key, retries=0)
    caller.use_up()
    error = raised(openai.RateLimitError, lambda: run(asking, caller.question))
    assert_retry_after(error.response.headers["retry-after"])
    assert caller.attempts() == 1
    saw(said(error))


def test_unknown_key(agent, saw):
    caller = unknown()
    error = raised(openai.AuthenticationError, lambda: run(agent(caller.key), caller.question))
    assert (error.status_code, caller.attempts()) == (401, 1)
    saw(said(error))


def test_model_not_allowed(agent, saw):
    caller = barred()
    error = raised(openai.PermissionDeniedError, lambda: run(agent(caller.key), caller.question))
    assert (error.status_code, caller.attempts()) == (403, 1)
    saw(said(error))

"""The official OpenAI SDK for Python through the gateway, by its base URL and key alone."""

import json

import openai
import pytest
from conftest import (
    CHAT_MODEL,
    DIRECT,
    EMBEDDING_MODEL,
    HELLO,
    assert_retry_after,
    refused,
    served_end,
    until_refused,
)

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def test_chat(openai_client):
    answer = openai_client().client.chat.completions.create(model=CHAT_MODEL, messages=HELLO)
    assert answer.model == CHAT_MODEL
    assert len(answer.choices[0].message.content.split()) == answer.usage.completion_tokens
    assert answer._request_id


def test_a_stream_that_did_not_ask_for_usage_has_none(openai_client):
    client = openai_client().client
    chunks = list(client.chat.completions.create(model=CHAT_MODEL, messages=HELLO, stream=True))
    assert all(chunk.choices and "usage" not in chunk.model_fields_set for chunk in chunks)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_stream_that_asked_for_usage_has_it_last(openai_client):
    chunks = list(
        openai_client().client.chat.completions.create(
            model=CHAT_MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks[:-1])
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == len(text.split())


def test_a_tool_call(openai_client):
    tool = {"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}
    answer = openai_client().client.chat.completions.create(
        model=CHAT_MODEL, messages=HELLO, tools=[tool], tool_choice="required"
    )
    call = answer.choices[0].message.tool_calls[0].function
    assert call.name == "weather"
    assert json.loads(call.arguments)["city"]


def test_a_streamed_tool_call(openai_client):
    tool = {"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}
    with openai_client().client.chat.completions.stream(
        model=CHAT_MODEL, messages=HELLO, tools=[tool], tool_choice="required"
    ) as stream:
        for _ in stream:
            pass
        call = stream.get_final_completion().choices[0].message.tool_calls[0].function
    assert call.name == "weather"
    assert json.loads(call.arguments)["city"]


def test_embeddings(openai_client):
    answer = openai_client().client.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two words"])
    assert [len(item.embedding) for item in answer.data] == [1536, 1536]
    assert answer.usage.total_tokens == 3


def test_responses(openai_client):
    answer = openai_client().client.responses.create(model=CHAT_MODEL, input="say hello")
    assert len(answer.output_text.split()) == answer.usage.output_tokens


def test_responses_stream(openai_client):
    with openai_client().client.responses.stream(model=CHAT_MODEL, input="say hello") as stream:
        said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert said == final.output_text
    assert final.usage.output_tokens == len(said.split())


def test_models(openai_client):
    assert CHAT_MODEL in [model.id for model in openai_client().client.models.list()]


def test_a_stream_given_up_ends_upstream_too(openai_client):
    model = f"{CHAT_MODEL}@out=41+stall=5:60s"
    stream = openai_client().client.chat.completions.create(model=model, messages=HELLO, stream=True)
    assert next(stream).choices[0].delta.role == "assistant"
    stream.close()
    assert served_end(model) == "client_gone"


def test_a_spent_budget_is_one_attempt_and_says_why(openai_client):
    spent = refused(402, CHAT_MODEL)
    counted = openai_client(spent.key)
    with pytest.raises(openai.APIStatusError) as caught:
        counted.client.chat.completions.create(model=spent.model, messages=HELLO)
    error = caught.value
    assert type(error) is openai.APIStatusError
    assert (error.status_code, error.code, error.type) == (402, "insufficient_quota", "insufficient_quota")
    assert counted.attempts == 1
    if not DIRECT:
        assert error.response.headers["x-should-retry"] == "false"
        assert "retry-after" not in error.response.headers
        assert {"scope", "spent", "reserved", "limit", "resets_at"} <= error.body.keys()


def test_a_spent_budget_refuses_streams_before_they_begin(openai_client):
    spent = refused(402, CHAT_MODEL)
    counted = openai_client(spent.key)
    with pytest.raises(openai.APIStatusError) as caught:
        counted.client.chat.completions.create(model=spent.model, messages=HELLO, stream=True)
    assert (caught.value.status_code, counted.attempts) == (402, 1)


def test_an_unknown_key(openai_client):
    unknown = refused(401, CHAT_MODEL)
    counted = openai_client(unknown.key)
    with pytest.raises(openai.AuthenticationError) as caught:
        counted.client.chat.completions.create(model=unknown.model, messages=HELLO)
    assert (caught.value.code, counted.attempts) == ("invalid_api_key", 1)


def test_a_rate_limit_says_when_to_come_back(openai_client):
    slow = refused(429, CHAT_MODEL)
    client = openai_client(slow.key, max_retries=0).client
    error = until_refused(
        lambda: client.chat.completions.create(model=slow.model, messages=HELLO), openai.RateLimitError
    )
    assert error.code == "rate_limit_exceeded"
    assert_retry_after(error.response.headers)

"""The official Anthropic SDK for Python through the gateway, by its base URL and key alone."""

import anthropic
import pytest
from conftest import CLAUDE_MODEL, HELLO, assert_retry_after, refused, served_end, until_refused

WEATHER = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


def ask(client, model=CLAUDE_MODEL, **more):
    return client.messages.create(model=model, max_tokens=64, messages=HELLO, **more)


def test_messages(anthropic_client):
    answer = ask(anthropic_client().client)
    assert answer.stop_reason == "end_turn"
    assert len(answer.content[0].text.split()) == answer.usage.output_tokens
    assert answer._request_id


def test_messages_stream(anthropic_client):
    client = anthropic_client().client
    with client.messages.stream(model=CLAUDE_MODEL, max_tokens=64, messages=HELLO) as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert said == final.content[0].text
    assert final.usage.output_tokens == len(said.split())


def test_a_tool_call(anthropic_client):
    answer = ask(anthropic_client().client, tools=[WEATHER], tool_choice={"type": "any"})
    assert answer.stop_reason == "tool_use"
    assert answer.content[0].name == "weather"
    assert answer.content[0].input["city"]


def test_count_tokens(anthropic_client):
    counted = anthropic_client().client.messages.count_tokens(model=CLAUDE_MODEL, messages=HELLO)
    assert counted.input_tokens > 0


def test_a_stream_given_up_ends_upstream_too(anthropic_client):
    model = f"{CLAUDE_MODEL}@out=43+stall=5:60s"
    stream = ask(anthropic_client().client, model, stream=True)
    assert next(iter(stream)).type == "message_start"
    stream.close()
    assert served_end(model) == "client_gone"


def test_a_spent_budget_is_one_attempt_and_says_why(anthropic_client):
    spent = refused(402, CLAUDE_MODEL)
    counted = anthropic_client(spent.key)
    with pytest.raises(anthropic.APIStatusError) as caught:
        ask(counted.client, spent.model)
    error = caught.value
    assert type(error).__name__ == "PaymentRequiredError"
    assert error.status_code == 402
    assert error.body["error"]["type"] == "billing_error"
    assert counted.attempts == 1


def test_an_unknown_key(anthropic_client):
    unknown = refused(401, CLAUDE_MODEL)
    counted = anthropic_client(unknown.key)
    with pytest.raises(anthropic.AuthenticationError) as caught:
        ask(counted.client, unknown.model)
    assert caught.value.body["error"]["type"] == "authentication_error"
    assert counted.attempts == 1


def test_a_rate_limit_says_when_to_come_back(anthropic_client):
    slow = refused(429, CLAUDE_MODEL)
    client = anthropic_client(slow.key, max_retries=0).client
    error = until_refused(lambda: ask(client, slow.model), anthropic.RateLimitError)
    assert error.body["error"]["type"] == "rate_limit_error"
    assert_retry_after(error.response.headers)

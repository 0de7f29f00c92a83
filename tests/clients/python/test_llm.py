"""The `llm` command line, with the gateway in its `extra-openai-models.yaml`, by chat and by Responses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from callers import (
    CHAT_MODEL,
    KEY,
    MOCK_URL,
    URL,
    WEATHER,
    Question,
    barred,
    limited,
    spent,
    unknown,
)

LLM = [str(Path(sys.executable).parent / "llm")]
MODELS = """
- {{ model_id: chat, model_name: {model}, api_base: {url}/v1, supports_schema: true, supports_tools: true }}
- {{ model_id: responses, model_name: {model}, api_base: {url}/v1, supports_schema: true, supports_tools: true,
    responses: true }}
"""
TOOL = "def weather(city: str) -> str:\n    'Looks out.'\n    return 'rain'\n"


@pytest.fixture(params=["chat", "responses"])
def model(request):
    return request.param


def home(url):
    """A folder with the settings of a user of this address."""
    folder = Path(os.environ["CLIENT_FOLDER"]) / url.rsplit(":", 1)[1]
    folder.mkdir(exist_ok=True)
    (folder / "extra-openai-models.yaml").write_text(MODELS.format(model=CHAT_MODEL, url=url))
    return {**os.environ, "LLM_USER_PATH": str(folder)}


def llm(*words, url=URL):
    return subprocess.run([*LLM, *words], env=home(url), capture_output=True, text=True, timeout=60)


def ask(model, question, *words, key=KEY, url=URL):
    return llm("prompt", "-m", model, "--key", key, question.text, *words, url=url)


def answer(ran):
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def fault(ran):
    """What it says on its way out, which is all that its user sees."""
    assert ran.returncode == 1, ran.stdout
    return ran.stderr.strip().splitlines()[-1]


def test_chat(model):
    assert answer(ask(model, Question(), "--no-stream"))


def test_stream(model):
    assert answer(ask(model, Question()))


def test_stream_usage(model):
    ran = ask(model, Question(), "--usage")
    assert f"{len(answer(ran).split())} output" in ran.stderr


def test_tools(model):
    ran = ask(model, Question("tool"), "--functions", TOOL, "--no-stream", "--tools-debug", "--chain-limit", "1")
    assert "Tool call: weather(" in ran.stderr


def test_streamed_tools(model):
    ran = ask(model, Question("tool"), "--functions", TOOL, "--tools-debug", "--chain-limit", "1")
    assert "Tool call: weather(" in ran.stderr


def test_structured_output(model):
    assert json.loads(answer(ask(model, Question(), "--schema", json.dumps(WEATHER))))["city"]


@pytest.mark.parametrize("name", ["text-embedding-3-small"], ids=["chat"])
def test_embeddings(name):
    given = {**home(URL), "OPENAI_BASE_URL": f"{URL}/v1", "OPENAI_API_KEY": KEY}
    ran = subprocess.run([*LLM, "embed", "-m", name, "-c", "one"], env=given, capture_output=True, text=True)
    assert len(json.loads(answer(ran))) == 1536


def test_cancellation(model):
    question = Question("stall=12:60s+out=41")
    command = [*LLM, "prompt", "-m", model, "--key", KEY, question.text]
    child = subprocess.Popen(command, env=home(URL), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout.read(1)
    child.send_signal(signal.SIGINT)
    child.wait(timeout=20)
    child.stdout.close()
    child.stderr.close()
    assert question.ended() == "client_gone"


def test_upstream_429(model):
    question, begun = Question("status=429:1+retry-after=2"), time.monotonic()
    assert answer(ask(model, question))
    assert question.statuses() == [429, 200]
    assert time.monotonic() - begun >= 2


def test_upstream_429_raised(model, saw):
    question = Question("status=429+retry-after=0")
    saw(f"`{same_as_directly(model, question)}`; it shows no headers")


def test_stream_error(model, saw):
    saw(f"`{same_as_directly(model, Question('error-frame=6'))}`")


def test_stream_cut(model, saw):
    saw(f"`{same_as_directly(model, Question('cut=2500+out=60'))}`")


def same_as_directly(model, question):
    through, directly = fault(ask(model, question)), fault(ask(model, question, url=MOCK_URL))
    assert through == directly
    return through


def test_spent_budget(model, saw):
    caller = spent()
    told = fault(ask(model, caller.question, key=caller.key))
    assert "402" in told
    assert caller.attempts() == 1
    saw("the gateway's message")


def test_rate_limit(model):
    caller = limited()
    caller.use_up()
    assert answer(ask(model, caller.question, key=caller.key))
    assert caller.attempts() == 2


def test_unknown_key(model):
    caller = unknown()
    assert "401" in fault(ask(model, caller.question, key=caller.key))
    assert caller.attempts() == 1


def test_model_not_allowed(model):
    caller = barred()
    assert "403" in fault(ask(model, caller.question, key=caller.key))
    assert caller.attempts() == 1

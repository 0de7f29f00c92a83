"""The `llm` command line, with the gateway in its `extra-openai-models.yaml`.

Its commands are called in this process, which saves a second of imports each; the one to be ended is not.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

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
from click.testing import CliRunner
from llm.cli import cli

MODELS = """
- &chat
  model_id: chat
  model_name: {model}
  api_base: {url}/v1
  api_key_name: gateway
  supports_schema: true
  supports_tools: true
- {{ <<: *chat, model_id: responses, responses: true }}
"""
TOOL = "def weather(city: str) -> str:\n    'Looks out.'\n    return 'rain'\n"


def home(url):
    """The settings of a user of this address."""
    folder = Path(os.environ["CLIENT_FOLDER"]) / url.rsplit(":", 1)[1]
    folder.mkdir(exist_ok=True)
    (folder / "extra-openai-models.yaml").write_text(MODELS.format(model=CHAT_MODEL, url=url))
    return {"LLM_USER_PATH": str(folder), "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": KEY}


def llm(*words, url=URL):
    return CliRunner().invoke(cli, words, env=home(url))


def ask(question, *words, key=KEY, url=URL, model="chat"):
    return llm("prompt", "-m", model, "--key", key, question.text, *words, url=url)


def answer(ran):
    assert ran.exit_code == 0, ran.stderr
    return ran.stdout.strip()


def fault(ran):
    """What it says on its way out, which is all that its user sees."""
    assert ran.exit_code == 1, ran.stdout
    return ran.stderr.strip().splitlines()[-1]


def test_chat():
    assert answer(ask(Question(), "--no-stream"))


def test_stream():
    assert answer(ask(Question()))


def test_stream_usage():
    ran = ask(Question(), "--usage")
    assert f"{len(answer(ran).split())} output" in ran.stderr


def test_tools():
    assert "Tool call: weather(" in calls_a_tool("--no-stream")


def test_streamed_tools():
    assert "Tool call: weather(" in calls_a_tool()


def calls_a_tool(*words):
    question = Question()
    question.text += " with a tool"
    ran = ask(question, "--functions", TOOL, "--tools-debug", *words)
    assert answer(ran)
    return ran.stderr


def test_structured_output():
    assert json.loads(answer(ask(Question(), "--schema", json.dumps(WEATHER))))["city"]


def test_embeddings():
    assert len(json.loads(answer(llm("embed", "-m", "text-embedding-3-small", "-c", "one")))) == 1536


def test_responses():
    assert answer(ask(Question(), "--no-stream", model="responses"))


def test_responses_stream():
    assert answer(ask(Question(), model="responses"))


def test_cancellation():
    question = Question("stall=12:60s+out=41")
    command = [Path(sys.executable).parent / "llm", "prompt", "-m", "chat", "--key", KEY, question.text]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen(command, env={**os.environ, **home(URL)}, **streams)
    assert child.stdout.read(1)
    child.terminate()
    child.wait(timeout=20)
    child.stdout.close()
    child.stderr.close()
    assert question.ended() == "client_gone"


def test_upstream_429():
    question, begun = Question("status=429:1+retry-after=2"), time.monotonic()
    assert answer(ask(question))
    assert question.statuses() == [429, 200]
    assert time.monotonic() - begun >= 2


def test_upstream_429_raised(saw):
    question = Question("status=429+retry-after=0")
    saw(f"`{same_as_directly(question)}`; it shows no headers")


def test_stream_error(saw):
    saw(f"`{same_as_directly(Question('error-frame=6'))}`")


def test_stream_cut(saw):
    saw(f"`{same_as_directly(Question('cut=2500+out=60'))}`")


def same_as_directly(question):
    through, directly = fault(ask(question)), fault(ask(question, url=MOCK_URL))
    assert through == directly
    return through


def test_spent_budget(saw):
    caller = spent()
    told = fault(ask(caller.question, key=caller.key))
    assert "402" in told
    assert caller.attempts() == 1
    saw("the gateway's message")


def test_rate_limit():
    caller = limited()
    caller.use_up()
    assert answer(ask(caller.question, key=caller.key))
    assert caller.attempts() == 2


def test_unknown_key():
    caller = unknown()
    assert "401" in fault(ask(caller.question, key=caller.key))
    assert caller.attempts() == 1


def test_model_not_allowed():
    caller = barred()
    assert "403" in fault(ask(caller.question, key=caller.key))
    assert caller.attempts() == 1

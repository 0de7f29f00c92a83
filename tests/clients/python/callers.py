"""Who asks, what, and who counts: the gateway's own books, or the mock's log where there is no gateway.

Knobs of the mock stand in the text of a question, so that every model keeps its name and its price.
"""

import itertools
import json
import os
import time
import urllib.error
import urllib.request

URL = os.environ["TOLLGATE_URL"]
MOCK_URL = os.environ["MOCK_URL"]
DIRECT = os.environ.get("TOLLGATE_DIRECT") == "1"
KEY = os.environ["TOLLGATE_KEY"]

CHAT_MODEL = "gpt-4o-mini"
CLAUDE_MODEL = "claude-haiku-4-5"
EMBEDDING_MODEL = "text-embedding-3-small"
# what is asked for when all else has been asked
LAST = "last"
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}

_numbers = itertools.count(1)


class Question:
    """A question that can be found again in the mock's log; `knobs` say how it is answered."""

    def __init__(self, knobs=""):
        self.mark = f"question-{next(_numbers)}"
        self.text = f"say hello [[mark:{self.mark}]]" + (f" [[mock:{knobs}]]" if knobs else "")

    @property
    def messages(self):
        return [{"role": "user", "content": self.text}]

    def statuses(self):
        """What the mock answered to it: one status per attempt."""
        return [served["status"] for served in self._begun()]

    def ended(self, patience=10.0):
        """How the mock's answer ended. Waits, since it ends after the client."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            ids = {served["id"] for served in self._begun()}
            ends = [line["end"] for line in _log() if line["event"] == "end" and line["id"] in ids]
            if ends:
                return ends[-1]
            time.sleep(0.05)
        raise AssertionError(f"the mock never finished its answer to {self.mark}")

    def _begun(self):
        lines = [line["served"] for line in _log() if line["event"] == "begin"]
        return [served for served in lines if served["mark"] == self.mark]


class Caller:
    """A key, and a question that is refused to it. Where there is no gateway the mock imitates the refusal."""

    def __init__(self, name, key, imitation):
        self.key = KEY if DIRECT else key
        self.question = Question(imitation if DIRECT else "")
        self._name = name
        self._before = 0 if DIRECT else _requests(key=name)

    def attempts(self):
        """How often it asked, by the gateway's ledger. Every request is in it, refused or not."""
        if DIRECT:
            return len(self.question.statuses())
        # rows are written in order: when a later one is there, none of the earlier ones is missing
        late = _requests(model=LAST) + 1
        _status(KEY, LAST)
        deadline = time.monotonic() + 20.0
        while _requests(model=LAST) < late:
            assert time.monotonic() < deadline, "the ledger never got the last request"
            time.sleep(0.02)
        return _requests(key=self._name) - self._before

    def use_up(self):
        """Asks until the rate limit holds."""
        for _ in range(0 if DIRECT else 100):
            self._before += 1
            if _status(self.key) == 429:
                break


def spent():
    """A caller whose team has no budget left."""
    return _one_of("spent", "status=402")


def limited():
    """A caller with 15 requests a minute; when they are used up, there is another one in 4 s."""
    return _one_of("limited", "status=429:1+retry-after=1")


def barred():
    """A caller whose team may not ask for the models of these tests."""
    return _one_of("barred", "status=403")


def unknown():
    """A caller whose key nobody has."""
    return Caller("", "sk-nobody-has-this-key", "status=401")


def _one_of(team, imitation):
    name = f"{team}-{next(_taken[team]):02}"
    return Caller(name, f"client-tests-key-{name}", imitation)


_taken = {team: itertools.count(1) for team in ("spent", "limited", "barred")}


def raised(kind, call):
    """The error that a call ends with, which must be of this kind."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind} was raised")


def same_as_directly(call, kind=Exception):
    """The error of a call, given the address to ask; it must be the one that the mock itself causes."""
    through, directly = raised(kind, lambda: call(URL)), raised(kind, lambda: call(MOCK_URL))
    assert (type(through), str(through)) == (type(directly), str(directly))
    return through


def assert_retry_after(seconds):
    """True to the second and below a minute: some SDKs sleep as long as they are told."""
    assert 1 <= int(seconds) < 60


def said(error):
    """An error as its user sees it: the innermost name, and the status."""
    status = getattr(error, "status_code", None)
    return f"`{type(error).__name__}`" + (f" {status}" if status else "")


def _log():
    with open(os.environ["MOCK_LOG"], encoding="utf-8") as log:
        return [json.loads(line) for line in log if line.endswith("\n")]


def _requests(**wanted):
    """Requests of one key or for one model, by the ledger. Unknown keys have no name."""
    [(column, value)] = wanted.items()
    with urllib.request.urlopen(f"http://{os.environ['TOLLGATE_ADMIN']}/api/v1/usage?by={column}") as answer:
        return sum(row["requests"] for row in json.load(answer)["rows"] if row[column] == value)


def _status(key, model=CHAT_MODEL):
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    request = urllib.request.Request(
        f"{URL}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code

"""The matrix: every client and version, its APIs, the cases, and which of them a client does not offer."""

from typing import NamedTuple

# in the order of the table; those not in CORE stand only where a client has them
CASES = {
    "chat": "a whole answer",
    "stream": "a stream",
    "stream_usage": "usage at the end of a stream only where it was asked for",
    "tools": "a tool call",
    "streamed_tools": "a tool call in a stream",
    "structured_output": "an answer that fits a schema",
    "embeddings": "embeddings",
    "responses": "the Responses API",
    "responses_stream": "the Responses API, as a stream",
    "models": "the list of models",
    "count_tokens": "counting tokens",
    "cancellation": "a stream given up ends at the upstream, too",
    "upstream_429": "an upstream's 429: waits as told, asks again, succeeds",
    "upstream_429_raised": "an upstream's 429: raised with its headers, as directly",
    "stream_error": "an error in mid-stream: raised as directly",
    "responses_stream_error": "the same in a stream of Responses",
    "stream_cut": "a connection cut in mid-stream: seen as directly",
    "spent_budget": "a spent budget: one attempt",
    "spent_budget_stream": "a spent budget, asked for a stream: one attempt",
    "rate_limit": "a rate limit: waits as told, asks again once, succeeds",
    "rate_limit_raised": "a rate limit: raised, and says when to come back",
    "unknown_key": "an unknown key: 401, one attempt",
    "model_not_allowed": "a model that is not allowed: 403, one attempt",
}

OPTIONAL = {
    "stream_usage",
    "responses_stream",
    "models",
    "count_tokens",
    "responses_stream_error",
    "spent_budget_stream",
}
CORE = [case for case in CASES if case not in OPTIONAL]


def named(case, api):
    """A cell, as pytest names it."""
    return f"{case}[{api}]" if api else case


class Environment(NamedTuple):
    """One client at one version: its lock file, its suite, the APIs it is driven by."""

    family: str
    name: str
    suite: str
    # what the table calls it, and the package whose version it is
    package: str
    node: int = 0
    apis: tuple = ("",)
    # case -> why the client does not offer it; `case[api]` for one API
    lacks: dict = {}
    # the same for cases that fail, and fail in the same way without the gateway
    alike: dict = {}

    @property
    def language(self):
        return "node" if self.node else "python"

    @property
    def key(self):
        return f"{self.language}/{self.name}"

    def excuse(self, case, api):
        return self.alike.get(named(case, api))

    def lack(self, case, api):
        return self.lacks.get(named(case, api)) or self.lacks.get(case)


MESSAGES_ONLY = {
    "embeddings": "Anthropic has none",
    "responses": "an API of OpenAI's",
}
OWN_COLUMN = "has its own column"
IMPATIENT = "with `num_retries` it asks again at once, whatever `retry-after` says"
SEE_CHAT = "embeddings have one API, tried under `chat`"

AI_SDK = ("responses", "chat", "compatible")
AI_SDK_LACKS = {
    "embeddings[responses]": SEE_CHAT,
    "stream_usage[responses]": "always there: see `a stream`",
    "stream_usage[chat]": "always asked for: see `a stream`",
    "responses": OWN_COLUMN,
}

ENVIRONMENTS = [
    *(
        Environment("OpenAI for Python", f"openai-{major}", "test_openai.py", "openai")
        for major in (1, 2, 3)
    ),
    Environment("Anthropic for Python", "anthropic", "test_anthropic.py", "anthropic", lacks=MESSAGES_ONLY),
    *(
        Environment("OpenAI for Node", f"openai-{major}", "openai.test.js", "openai", node=line)
        for major, line in ((4, 20), (6, 20), (7, 22))
    ),
    Environment(
        "Anthropic for TypeScript", "anthropic", "anthropic.test.js", "@anthropic-ai/sdk", 20, lacks=MESSAGES_ONLY
    ),
    *(
        Environment("Vercel AI SDK", f"ai-{major}", "ai-sdk.test.js", "ai", line, AI_SDK, AI_SDK_LACKS)
        for major, line in ((5, 20), (6, 20), (7, 22))
    ),
    Environment(
        "LangChain for Python",
        "langchain",
        "test_langchain.py",
        "langchain-openai",
        apis=("chat", "responses", "messages"),
        lacks={
            "embeddings[responses]": SEE_CHAT,
            "embeddings[messages]": "Anthropic has none",
            "responses": OWN_COLUMN,
        },
    ),
    Environment(
        "LangChain for JavaScript",
        "langchain",
        "langchain.test.js",
        "@langchain/openai",
        22,
        ("chat", "responses"),
        {"embeddings[responses]": SEE_CHAT, "responses": OWN_COLUMN},
    ),
    Environment(
        "OpenAI Agents SDK for Python",
        "agents",
        "test_agents.py",
        "openai-agents",
        apis=("responses", "chat"),
        lacks={"embeddings": "a library of agents", "responses": OWN_COLUMN},
    ),
    Environment(
        "LlamaIndex",
        "llama-index",
        "test_llama_index.py",
        "llama-index-llms-openai",
        apis=("chat", "responses", "compatible"),
        lacks={
            "embeddings[responses]": SEE_CHAT,
            "embeddings[compatible]": SEE_CHAT,
            "responses": OWN_COLUMN,
        },
    ),
    Environment(
        "Instructor",
        "instructor",
        "test_instructor.py",
        "instructor",
        lacks={
            "embeddings": "a library of typed answers",
            "cancellation": "it reads a stream to its end before it gives anything",
        },
    ),
    Environment(
        "LiteLLM as a client",
        "litellm",
        "test_litellm.py",
        "litellm",
        apis=("chat", "messages"),
        lacks={
            "embeddings[messages]": "Anthropic has none",
            "responses[messages]": "an API of OpenAI's",
            "upstream_429[messages]": IMPATIENT,
            "rate_limit[messages]": IMPATIENT,
        },
        alike={
            "cancellation[messages]": "its stream cannot be closed, and leaves its connection open when it is dropped"
        },
    ),
    Environment(
        "The llm command line",
        "llm",
        "test_llm.py",
        "llm",
        lacks={"rate_limit_raised": "it always waits and asks again"},
    ),
]

//! Names of span and metric attributes, span names and the scope. One constant per name.
//!
//! `gen_ai.*` as in semantic conventions 1.41, the last release that had them in the core repository.

/// Name of the instrumentation scope.
pub const SCOPE: &str = "tollgate";
/// Schema of the names below.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.1";
/// What stands for a value that is not from a closed set.
pub const OTHER: &str = "_OTHER";

macro_rules! names {
    ($($constant:ident = $name:literal),+ $(,)?) => {
        $(#[doc = concat!("`", $name, "`")] pub const $constant: &str = $name;)+
    };
}

names! {
    HTTP_REQUEST_METHOD = "http.request.method",
    HTTP_REQUEST_METHOD_ORIGINAL = "http.request.method_original",
    HTTP_RESPONSE_STATUS_CODE = "http.response.status_code",
    HTTP_ROUTE = "http.route",
    URL_PATH = "url.path",
    URL_SCHEME = "url.scheme",
    SERVER_ADDRESS = "server.address",
    SERVER_PORT = "server.port",
    CLIENT_ADDRESS = "client.address",
    USER_AGENT_ORIGINAL = "user_agent.original",
    NETWORK_PROTOCOL_VERSION = "network.protocol.version",
    ERROR_TYPE = "error.type",
    USER_ID = "user.id",
    SESSION_ID = "session.id",

    GEN_AI_OPERATION_NAME = "gen_ai.operation.name",
    GEN_AI_PROVIDER_NAME = "gen_ai.provider.name",
    GEN_AI_REQUEST_MODEL = "gen_ai.request.model",
    GEN_AI_REQUEST_STREAM = "gen_ai.request.stream",
    GEN_AI_REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens",
    GEN_AI_REQUEST_TEMPERATURE = "gen_ai.request.temperature",
    GEN_AI_REQUEST_TOP_P = "gen_ai.request.top_p",
    GEN_AI_REQUEST_FREQUENCY_PENALTY = "gen_ai.request.frequency_penalty",
    GEN_AI_REQUEST_PRESENCE_PENALTY = "gen_ai.request.presence_penalty",
    GEN_AI_REQUEST_SEED = "gen_ai.request.seed",
    GEN_AI_REQUEST_CHOICE_COUNT = "gen_ai.request.choice.count",
    GEN_AI_RESPONSE_MODEL = "gen_ai.response.model",
    GEN_AI_RESPONSE_ID = "gen_ai.response.id",
    GEN_AI_RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons",
    GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk",
    GEN_AI_USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens",
    GEN_AI_USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens",
    GEN_AI_USAGE_CACHE_READ = "gen_ai.usage.cache_read.input_tokens",
    GEN_AI_USAGE_CACHE_CREATION = "gen_ai.usage.cache_creation.input_tokens",
    GEN_AI_USAGE_REASONING = "gen_ai.usage.reasoning.output_tokens",
    GEN_AI_TOKEN_TYPE = "gen_ai.token.type",
    OPENAI_REQUEST_SERVICE_TIER = "openai.request.service_tier",
    OPENAI_RESPONSE_SERVICE_TIER = "openai.response.service_tier",
    OPENAI_RESPONSE_SYSTEM_FINGERPRINT = "openai.response.system_fingerprint",

    REQUEST_ID = "tollgate.request.id",
    API_FORMAT = "tollgate.api.format",
    REQUEST_MODEL = "tollgate.request.model",
    REQUEST_STREAM = "tollgate.request.stream",
    TENANT_ID = "tollgate.tenant.id",
    API_KEY_ID = "tollgate.api_key.id",
    OUTCOME = "tollgate.outcome",
    ATTEMPT_COUNT = "tollgate.attempt.count",
    ATTEMPT_NUMBER = "tollgate.attempt.number",
    ATTEMPT_REASON = "tollgate.attempt.reason",
    ATTEMPT_OUTCOME = "tollgate.attempt.outcome",
    TARGET_ID = "tollgate.target.id",
    FAILOVER = "tollgate.failover",
    FAILOVER_FROM = "tollgate.failover.from",
    FAILOVER_TO = "tollgate.failover.to",
    CACHE_RESULT = "tollgate.cache.result",
    CACHE_TYPE = "tollgate.cache.type",
    BUDGET_ID = "tollgate.budget.id",
    BUDGET_SCOPE = "tollgate.budget.scope",
    BUDGET_WINDOW = "tollgate.budget.window",
    BUDGET_DECISION = "tollgate.budget.decision",
    BUDGET_REMAINING_RATIO = "tollgate.budget.remaining_ratio",
    BUDGET_THRESHOLD = "tollgate.budget.threshold",
    LIMIT_TYPE = "tollgate.rate_limiting.limit.type",
    LIMIT_SCOPE = "tollgate.rate_limiting.scope",
    REJECTION_REASON = "tollgate.rejection.reason",
    OVERHEAD_DURATION = "tollgate.overhead.duration",
    TIME_TO_FIRST_TOKEN = "tollgate.response.time_to_first_token",
    USAGE_INPUT_TOKENS = "tollgate.usage.input_tokens",
    USAGE_OUTPUT_TOKENS = "tollgate.usage.output_tokens",
    USAGE_SOURCE = "tollgate.usage.source",
    USAGE_ESTIMATE = "tollgate.usage.estimate",
    USAGE_ESTIMATE_ERROR = "tollgate.usage.estimate_error_percent",
    USAGE_OUTCOME = "tollgate.usage.outcome",
    COST_AMOUNT = "tollgate.cost.amount",
    COST_CURRENCY = "tollgate.cost.currency",
    COST_SOURCE = "tollgate.cost.source",
    TOKEN_TYPE = "tollgate.token.type",
    ANSWER_FAULT = "tollgate.answer.fault",
    PRICE_STATUS = "tollgate.price.status",
    SAMPLING_REASON = "tollgate.sampling.reason",
    RELOAD_OUTCOME = "tollgate.config.reload.outcome",
    LEDGER_RESULT = "tollgate.ledger.result",
    DROP_REASON = "tollgate.drop.reason",
}

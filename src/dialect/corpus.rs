//! For tests: streams as upstreams really send them.

use super::path::Operation;

/// `OpenAI` asked for usage: three choices interleaved, tools, refusal, obfuscation, both names of reasoning.
pub const CHAT: &str = r#"data: {"id":"c1","model":"gpt-x","service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null,"obfuscation":"aaaaaaa"}

data: {"id":"c1","model":"gpt-x","choices":[{"index":2,"delta":{"content":"H\u00e9 \"usage\":null"}}],"usage":null,"obfuscation":"b"}

: OPENROUTER PROCESSING

data: {"id":"c1","model":"gpt-x","choices":[{"index":1,"delta":{"reasoning":"why","reasoning_content":"why"}}],"usage":null}

data: {"id":"c1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":"{\"a\""}}]}}],"usage":null}

data: {"id":"c1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}},{"index":1,"delta":{"refusal":"no"},"finish_reason":"stop"}],"usage":null}

data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":null}

data: {"id":"c1","model":"gpt-x","service_tier":"priority","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}

data: [DONE]

"#;

/// Azure: nothing in the first chunk but filters.
pub const AZURE: &str = "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",\"prompt_filter_results\":[{}]}\r\n\r\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"A\"},\"content_filter_results\":{}}],\"id\":\"z\",\"model\":\"gpt-z\"}\r\n\r\n\
    data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"model\":\"gpt-z\"}\r\n\r\ndata: [DONE]\r\n";

/// vLLM: a running usage on every chunk.
pub const VLLM: &str = "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1}}\n\n\
    data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n\
    data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n";

/// Anthropic: thinking, a signature, text, a tool, caches of both lifetimes.
pub const MESSAGES: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","model":"claude-x","content":[],"stop_reason":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":30,"cache_read_input_tokens":60,"cache_creation":{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":10},"output_tokens":1,"service_tier":"standard","speed":"fast"}}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hi"}}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":40,"output_tokens_details":{"thinking_tokens":5},"server_tool_use":{"web_search_requests":2}}}

event: message_stop
data: {"type":"message_stop"}

"#;

/// The Responses API: text, audio, and two tools that are billed apart.
pub const RESPONSES: &str = r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","model":"gpt-r","status":"in_progress","usage":null,"service_tier":"auto"}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","delta":"Hello","sequence_number":1,"obfuscation":"xyz"}

event: response.audio.delta
data: {"type":"response.audio.delta","delta":"QUJD"}

event: response.output_text.done
data: {"type":"response.output_text.done","text":"Hello"}

event: response.completed
data: {"type":"response.completed","response":{"id":"resp_1","model":"gpt-r","status":"completed","service_tier":"priority","tools":[{"type":"image_generation","model":"gpt-image-x"}],"output":[{"type":"message","content":[{"type":"output_text","text":"Hello"}]}],"usage":{"input_tokens":20,"output_tokens":3,"output_tokens_details":{"reasoning_tokens":1}},"tool_usage":{"image_gen":{"input_tokens":4,"output_tokens":100,"output_tokens_details":{"image_tokens":100}},"web_search":{"num_requests":2}}}}

"#;

/// All of them.
pub const CORPUS: [(Operation, &str); 5] = [
    (Operation::ChatCompletions, CHAT),
    (Operation::ChatCompletions, AZURE),
    (Operation::Completions, VLLM),
    (Operation::Messages, MESSAGES),
    (Operation::Responses, RESPONSES),
];

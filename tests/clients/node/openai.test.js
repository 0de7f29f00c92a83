// The official OpenAI SDK for Node.
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import {
  Question, assertRetryAfter, barred, cell, chatModel, direct, embeddingModel, key, limited, raised, said,
  sameAsDirectly, spent, unknown, url, weather, words,
} from './callers.js';

const tools = [{ type: 'function', function: { name: 'weather', parameters: weather, strict: true } }];

const client = (apiKey = key, base = url, options = {}) =>
  new OpenAI({ baseURL: `${base}/v1`, apiKey, ...options });
const chat = (question, asking = client(), more = {}) =>
  asking.chat.completions.create({ model: chatModel, messages: question.messages, ...more });

// version 4 has an object there
const header = (error, name) => (error.headers.get ? error.headers.get(name) : error.headers[name]);

async function all(stream) {
  const items = [];
  for await (const item of await stream) items.push(item);
  return items;
}

cell('chat', '', async () => {
  const answer = await chat(new Question());
  assert.equal(answer.model, chatModel);
  assert.equal(words(answer.choices[0].message.content), answer.usage.completion_tokens);
  assert.ok(answer._request_id);
});

cell('stream', '', async () => {
  const chunks = await all(chat(new Question(), client(), { stream: true }));
  assert.ok(chunks.every((chunk) => chunk.choices.length === 1 && !('usage' in chunk)));
  assert.ok(words(chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join('')) > 0);
});

cell('stream_usage', '', async () => {
  const chunks = await all(chat(new Question(), client(), { stream: true, stream_options: { include_usage: true } }));
  const last = chunks.pop();
  const text = chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join('');
  assert.ok(chunks.every((chunk) => chunk.usage === null));
  assert.deepEqual(last.choices, []);
  assert.equal(last.usage.completion_tokens, words(text));
});

cell('tools', '', async () => {
  const answer = await chat(new Question(), client(), { tools, tool_choice: 'required' });
  const call = answer.choices[0].message.tool_calls[0].function;
  assert.equal(call.name, 'weather');
  assert.ok(JSON.parse(call.arguments).city);
});

cell('streamed_tools', '', async () => {
  const chunks = await all(chat(new Question(), client(), { tools, tool_choice: 'required', stream: true }));
  const calls = chunks.flatMap((chunk) => chunk.choices[0].delta.tool_calls ?? []);
  assert.equal(calls[0].function.name, 'weather');
  assert.ok(JSON.parse(calls.map((call) => call.function.arguments).join('')).city);
});

cell('structured_output', '', async () => {
  const json_schema = { name: 'place', schema: weather, strict: true };
  const answer = await chat(new Question(), client(), { response_format: { type: 'json_schema', json_schema } });
  assert.ok(JSON.parse(answer.choices[0].message.content).city);
});

cell('embeddings', '', async () => {
  const answer = await client().embeddings.create({ model: embeddingModel, input: ['one', 'two words'] });
  assert.deepEqual(answer.data.map((item) => item.embedding.length), [1536, 1536]);
  assert.equal(answer.usage.total_tokens, 3);
});

cell('responses', '', async () => {
  const answer = await client().responses.create({ model: chatModel, input: new Question().text });
  assert.equal(words(answer.output_text), answer.usage.output_tokens);
});

cell('responses_stream', '', async () => {
  const stream = client().responses.stream({ model: chatModel, input: new Question().text });
  let text = '';
  for await (const event of stream) if (event.type === 'response.output_text.delta') text += event.delta;
  const final = await stream.finalResponse();
  assert.equal(final.output[0].content[0].text, text);
  assert.equal(final.usage.output_tokens, words(text));
});

cell('models', '', async () => {
  const names = (await all(client().models.list())).map((model) => model.id);
  assert.ok(names.includes(chatModel));
});

cell('cancellation', '', async () => {
  const question = new Question('stall=5:60s+out=47');
  for await (const chunk of await chat(question, client(), { stream: true })) {
    assert.equal(chunk.choices[0].delta.role, 'assistant');
    break;
  }
  assert.equal(await question.ended(), 'client_gone');
});

cell('upstream_429', '', async () => {
  const [question, begun] = [new Question('status=429:1+retry-after=2'), performance.now()];
  assert.ok((await chat(question)).choices);
  assert.deepEqual(question.statuses(), [429, 200]);
  assert.ok(performance.now() - begun >= 1_990);
});

cell('upstream_429_raised', '', async (saw) => {
  const question = new Question('status=429+retry-after=7');
  const error = await sameAsDirectly((base) => chat(question, client(key, base, { maxRetries: 0 })));
  assert.ok(error instanceof OpenAI.RateLimitError);
  assert.deepEqual([header(error, 'retry-after'), header(error, 'x-ratelimit-limit-requests')], ['7', '10000']);
  assert.deepEqual(question.statuses(), [429, 429]);
  saw(`${said(error)}, headers in \`e.headers\``);
});

cell('stream_error', '', async (saw) => {
  const question = new Question('error-frame=4');
  const error = await sameAsDirectly((base) => all(chat(question, client(key, base), { stream: true })));
  assert.ok(error instanceof OpenAI.APIError);
  assert.equal(error.code, 'server_error');
  saw(said(error));
});

cell('responses_stream_error', '', async (saw) => {
  const question = new Question('error-frame=6');
  const error = await sameAsDirectly((base) =>
    all(client(key, base).responses.create({ model: chatModel, input: question.text, stream: true })));
  assert.ok(error instanceof OpenAI.APIError);
  saw(said(error));
});

cell('stream_cut', '', async (saw) => {
  const question = new Question('cut=900');
  saw(said(await sameAsDirectly((base) => all(chat(question, client(key, base), { stream: true })))));
});

cell('spent_budget', '', async (saw) => {
  const caller = await spent();
  const error = await raised(() => chat(caller.question, client(caller.key)));
  assert.equal(error.constructor, OpenAI.APIError);
  assert.deepEqual([error.status, error.code, error.type], [402, 'insufficient_quota', 'insufficient_quota']);
  if (!direct) assert.ok('resets_at' in error.error && 'scope' in error.error);
  assert.equal(await caller.attempts(), 1);
  saw(`${said(error)}, \`e.code\` is \`insufficient_quota\``);
});

cell('spent_budget_stream', '', async () => {
  const caller = await spent();
  const error = await raised(() => chat(caller.question, client(caller.key), { stream: true }));
  assert.deepEqual([error.status, await caller.attempts()], [402, 1]);
});

cell('rate_limit', '', async () => {
  const caller = await limited();
  await caller.useUp();
  assert.ok((await chat(caller.question, client(caller.key))).choices);
  assert.equal(await caller.attempts(), 2);
});

cell('rate_limit_raised', '', async (saw) => {
  const caller = await limited();
  await caller.useUp();
  const error = await raised(() => chat(caller.question, client(caller.key, url, { maxRetries: 0 })));
  assert.ok(error instanceof OpenAI.RateLimitError);
  assert.equal(error.code, 'rate_limit_exceeded');
  assertRetryAfter(header(error, 'retry-after'));
  assert.equal(await caller.attempts(), 1);
  saw(said(error));
});

cell('unknown_key', '', async (saw) => {
  const caller = await unknown();
  const error = await raised(() => chat(caller.question, client(caller.key)));
  assert.ok(error instanceof OpenAI.AuthenticationError);
  assert.deepEqual([error.code, await caller.attempts()], ['invalid_api_key', 1]);
  saw(said(error));
});

cell('model_not_allowed', '', async (saw) => {
  const caller = await barred();
  const error = await raised(() => chat(caller.question, client(caller.key)));
  assert.ok(error instanceof OpenAI.PermissionDeniedError);
  assert.deepEqual([error.status, await caller.attempts()], [403, 1]);
  saw(said(error));
});

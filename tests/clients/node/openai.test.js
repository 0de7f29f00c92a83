// The official OpenAI SDK for Node through the gateway, by its base URL and key alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import {
  assertRetryAfter, baseURL, chatModel, counted, direct, embeddingModel, hello, key, refused, servedEnd,
  untilRefused, weather, words,
} from './common.js';

const client = (apiKey = key, options = {}) => new OpenAI({ baseURL, apiKey, ...options });
const tools = [{ type: 'function', function: { name: 'weather', parameters: weather, strict: true } }];

test('chat', async () => {
  const answer = await client().chat.completions.create({ model: chatModel, messages: hello });
  assert.equal(answer.model, chatModel);
  assert.equal(words(answer.choices[0].message.content), answer.usage.completion_tokens);
  assert.ok(answer._request_id);
});

test('a stream that did not ask for usage has none', async () => {
  const stream = await client().chat.completions.create({ model: chatModel, messages: hello, stream: true });
  let text = '';
  for await (const chunk of stream) {
    assert.equal(chunk.choices.length, 1);
    assert.ok(!('usage' in chunk));
    text += chunk.choices[0].delta.content ?? '';
  }
  assert.ok(words(text) > 0);
});

test('a stream that asked for usage has it last', async () => {
  const stream = await client().chat.completions.create({
    model: chatModel, messages: hello, stream: true, stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  const last = chunks.pop();
  const text = chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join('');
  assert.ok(chunks.every((chunk) => chunk.usage === null));
  assert.deepEqual(last.choices, []);
  assert.equal(last.usage.completion_tokens, words(text));
});

test('a tool call', async () => {
  const answer = await client().chat.completions.create({
    model: chatModel, messages: hello, tools, tool_choice: 'required',
  });
  const call = answer.choices[0].message.tool_calls[0].function;
  assert.equal(call.name, 'weather');
  assert.ok(JSON.parse(call.arguments).city);
});

test('embeddings', async () => {
  const answer = await client().embeddings.create({ model: embeddingModel, input: ['one', 'two words'] });
  assert.deepEqual(answer.data.map((item) => item.embedding.length), [1536, 1536]);
  assert.equal(answer.usage.total_tokens, 3);
});

test('responses', async () => {
  const answer = await client().responses.create({ model: chatModel, input: 'say hello' });
  assert.equal(words(answer.output_text), answer.usage.output_tokens);
});

test('responses as a stream', async () => {
  const stream = client().responses.stream({ model: chatModel, input: 'say hello' });
  let said = '';
  for await (const event of stream) if (event.type === 'response.output_text.delta') said += event.delta;
  const final = await stream.finalResponse();
  assert.equal(final.output_text, said);
  assert.equal(final.usage.output_tokens, words(said));
});

test('a stream given up ends upstream too', async () => {
  const model = `${chatModel}@out=47+stall=5:60s`;
  const stream = await client().chat.completions.create({ model, messages: hello, stream: true });
  for await (const chunk of stream) {
    assert.equal(chunk.choices[0].delta.role, 'assistant');
    break;
  }
  assert.equal(await servedEnd(model), 'client_gone');
});

test('a spent budget is one attempt and says why', async () => {
  const [spent, calls] = [refused(402), counted()];
  const asked = client(spent.key, { fetch: calls.fetch })
    .chat.completions.create({ model: spent.model, messages: hello });
  await assert.rejects(asked, (error) => {
    assert.equal(error.constructor, OpenAI.APIError);
    assert.deepEqual([error.status, error.code, error.type], [402, 'insufficient_quota', 'insufficient_quota']);
    if (!direct) assert.ok('resets_at' in error.error && 'scope' in error.error);
    return true;
  });
  assert.equal(calls.attempts, 1);
});

test('an unknown key', async () => {
  const [unknown, calls] = [refused(401), counted()];
  const asked = client(unknown.key, { fetch: calls.fetch })
    .chat.completions.create({ model: unknown.model, messages: hello });
  await assert.rejects(asked, (error) => {
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.equal(error.code, 'invalid_api_key');
    return true;
  });
  assert.equal(calls.attempts, 1);
});

test('a rate limit says when to come back', async () => {
  const slow = refused(429);
  const asking = client(slow.key, { maxRetries: 0 });
  const error = await untilRefused(() =>
    asking.chat.completions.create({ model: slow.model, messages: hello }));
  assert.ok(error instanceof OpenAI.RateLimitError);
  assert.equal(error.code, 'rate_limit_exceeded');
  assertRetryAfter(error.headers.get('retry-after'));
});

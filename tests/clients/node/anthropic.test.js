// The official Anthropic SDK for TypeScript; its base URL has no /v1, the SDK adds it.
import assert from 'node:assert/strict';
import Anthropic from '@anthropic-ai/sdk';
import {
  Question, assertRetryAfter, barred, cell, claudeModel, direct, key, limited, raised, said, sameAsDirectly,
  spent, unknown, url, weather, words,
} from './callers.js';

const tools = [{ name: 'weather', input_schema: weather }];

const client = (apiKey = key, baseURL = url, options = {}) => new Anthropic({ baseURL, apiKey, ...options });
const request = (question, more = {}) =>
  ({ model: claudeModel, max_tokens: 64, messages: question.messages, ...more });
const ask = (question, asking = client(), more = {}) => asking.messages.create(request(question, more));

async function all(stream) {
  const events = [];
  for await (const event of await stream) events.push(event);
  return events;
}

cell('chat', '', async () => {
  const answer = await ask(new Question());
  assert.equal(answer.stop_reason, 'end_turn');
  assert.equal(words(answer.content[0].text), answer.usage.output_tokens);
  assert.ok(answer._request_id);
});

cell('stream', '', async () => {
  let text = '';
  const stream = client().messages.stream(request(new Question())).on('text', (piece) => { text += piece; });
  const final = await stream.finalMessage();
  assert.equal(final.content[0].text, text);
  assert.equal(final.usage.output_tokens, words(text));
});

cell('tools', '', async () => {
  const answer = await ask(new Question(), client(), { tools, tool_choice: { type: 'any' } });
  assert.equal(answer.stop_reason, 'tool_use');
  assert.equal(answer.content[0].name, 'weather');
  assert.ok(answer.content[0].input.city);
});

cell('streamed_tools', '', async () => {
  const stream = client().messages.stream(request(new Question(), { tools, tool_choice: { type: 'any' } }));
  const final = await stream.finalMessage();
  assert.equal(final.content[0].name, 'weather');
  assert.ok(final.content[0].input.city);
});

cell('structured_output', '', async () => {
  const output_config = { format: { type: 'json_schema', schema: weather } };
  const answer = await ask(new Question(), client(), { output_config });
  assert.ok(JSON.parse(answer.content[0].text).city);
});

cell('count_tokens', '', async () => {
  const counted = await client().messages.countTokens({ model: claudeModel, messages: new Question().messages });
  assert.ok(counted.input_tokens > 0);
});

cell('cancellation', '', async () => {
  const question = new Question('stall=5:60s+out=43');
  for await (const event of await ask(question, client(), { stream: true })) {
    assert.equal(event.type, 'message_start');
    break;
  }
  assert.equal(await question.ended(), 'client_gone');
});

cell('upstream_429', '', async () => {
  const [question, begun] = [new Question('status=429:1+retry-after=2'), performance.now()];
  assert.ok((await ask(question)).content);
  assert.deepEqual(question.statuses(), [429, 200]);
  assert.ok(performance.now() - begun >= 1_990);
});

cell('upstream_429_raised', '', async (saw) => {
  const question = new Question('status=429+retry-after=7');
  const error = await sameAsDirectly((base) => ask(question, client(key, base, { maxRetries: 0 })));
  assert.ok(error instanceof Anthropic.RateLimitError);
  const told = ['retry-after', 'anthropic-ratelimit-requests-limit'].map((name) => error.headers.get(name));
  assert.deepEqual(told, ['7', '4000']);
  saw(`${said(error)}, headers in \`e.headers\``);
});

cell('stream_error', '', async (saw) => {
  const question = new Question('error-frame=4');
  const error = await sameAsDirectly((base) => all(ask(question, client(key, base), { stream: true })));
  assert.ok(error instanceof Anthropic.APIError);
  saw(said(error));
});

cell('stream_cut', '', async (saw) => {
  const question = new Question('cut=900');
  saw(said(await sameAsDirectly((base) => all(ask(question, client(key, base), { stream: true })))));
});

cell('spent_budget', '', async (saw) => {
  const caller = await spent();
  const error = await raised(() => ask(caller.question, client(caller.key)));
  assert.deepEqual([error.status, error.error.error.type], [402, 'billing_error']);
  if (!direct) assert.equal(error.headers.get('retry-after'), null);
  assert.equal(await caller.attempts(), 1);
  saw(said(error));
});

cell('spent_budget_stream', '', async () => {
  const caller = await spent();
  const error = await raised(() => ask(caller.question, client(caller.key), { stream: true }));
  assert.deepEqual([error.status, await caller.attempts()], [402, 1]);
});

cell('rate_limit', '', async () => {
  const caller = await limited();
  await caller.useUp();
  assert.ok((await ask(caller.question, client(caller.key))).content);
  assert.equal(await caller.attempts(), 2);
});

cell('rate_limit_raised', '', async (saw) => {
  const caller = await limited();
  await caller.useUp();
  const error = await raised(() => ask(caller.question, client(caller.key, url, { maxRetries: 0 })));
  assert.ok(error instanceof Anthropic.RateLimitError);
  assert.equal(error.error.error.type, 'rate_limit_error');
  assertRetryAfter(error.headers.get('retry-after'));
  assert.equal(await caller.attempts(), 1);
  saw(said(error));
});

cell('unknown_key', '', async (saw) => {
  const caller = await unknown();
  const error = await raised(() => ask(caller.question, client(caller.key)));
  assert.ok(error instanceof Anthropic.AuthenticationError);
  assert.deepEqual([error.error.error.type, await caller.attempts()], ['authentication_error', 1]);
  saw(said(error));
});

cell('model_not_allowed', '', async (saw) => {
  const caller = await barred();
  const error = await raised(() => ask(caller.question, client(caller.key)));
  assert.ok(error instanceof Anthropic.PermissionDeniedError);
  assert.deepEqual([error.error.error.type, await caller.attempts()], ['permission_error', 1]);
  saw(said(error));
});

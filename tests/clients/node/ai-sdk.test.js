// The Vercel AI SDK through the gateway, by its base URL and key alone: the OpenAI provider (Responses by
// default, chat on request) and the provider for compatible servers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, embed, generateObject, generateText, jsonSchema, streamText, tool } from 'ai';
import {
  assertRetryAfter, baseURL, chatModel, counted, embeddingModel, key, refused, servedEnd, untilRefused,
  weather, words,
} from './common.js';

const prompt = 'say hello';
const provider = (apiKey = key, options = {}) => createOpenAI({ baseURL, apiKey, ...options });
const compatible = (options = {}) => createOpenAICompatible({ name: 'tollgate', baseURL, apiKey: key, ...options });

const models = {
  responses: () => provider()(chatModel),
  chat: () => provider().chat(chatModel),
  compatible: () => compatible({ includeUsage: true })(chatModel),
};

for (const [name, model] of Object.entries(models)) {
  test(`${name}: text`, async () => {
    const { text, usage } = await generateText({ model: model(), prompt });
    assert.equal(words(text), usage.outputTokens);
  });

  test(`${name}: stream`, async () => {
    const answer = streamText({ model: model(), prompt });
    let said = '';
    for await (const piece of answer.textStream) said += piece;
    assert.equal(words(said), (await answer.usage).outputTokens);
  });

  test(`${name}: a tool call`, async () => {
    const tools = { weather: tool({ inputSchema: jsonSchema(weather) }) };
    const answer = await generateText({ model: model(), prompt, tools, toolChoice: 'required' });
    assert.equal(answer.toolCalls[0].toolName, 'weather');
    assert.ok(answer.toolCalls[0].input.city);
  });
}

test('a stream that did not ask for usage has none', async () => {
  const answer = streamText({ model: compatible()(chatModel), prompt });
  let said = '';
  for await (const piece of answer.textStream) said += piece;
  assert.ok(words(said) > 0);
  assert.equal((await answer.usage).outputTokens, undefined);
});

test('an object that fits its schema', async () => {
  const { object } = await generateObject({
    model: provider().chat(chatModel), prompt, schema: jsonSchema(weather),
  });
  assert.ok(object.city);
});

test('an embedding', async () => {
  const { embedding } = await embed({ model: provider().embedding(embeddingModel), value: 'one' });
  assert.equal(embedding.length, 1536);
});

test('a stream given up ends upstream too', async () => {
  const model = `${chatModel}@out=53+stall=5:60s`;
  const given = new AbortController();
  const answer = streamText({ model: provider().chat(model), prompt, abortSignal: given.signal });
  for await (const piece of answer.textStream) {
    assert.ok(piece);
    given.abort();
    break;
  }
  assert.equal(await servedEnd(model), 'client_gone');
});

test('a spent budget is one attempt and says why', async () => {
  const [spent, calls] = [refused(402), counted()];
  const model = provider(spent.key, { fetch: calls.fetch }).chat(spent.model);
  await assert.rejects(generateText({ model, prompt }), (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.deepEqual([error.statusCode, error.isRetryable], [402, false]);
    assert.equal(error.data.error.code, 'insufficient_quota');
    return true;
  });
  assert.equal(calls.attempts, 1);
});

test('an unknown key', async () => {
  const [unknown, calls] = [refused(401), counted()];
  const model = provider(unknown.key, { fetch: calls.fetch })(unknown.model);
  await assert.rejects(generateText({ model, prompt }), (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.equal(error.statusCode, 401);
    return true;
  });
  assert.equal(calls.attempts, 1);
});

test('a rate limit says when to come back', async () => {
  const slow = refused(429);
  const model = provider(slow.key).chat(slow.model);
  const error = await untilRefused(() => generateText({ model, prompt, maxRetries: 0 }));
  assert.equal(error.statusCode, 429);
  assertRetryAfter(error.responseHeaders['retry-after']);
});

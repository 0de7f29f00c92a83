// The Vercel AI SDK: the OpenAI provider (Responses by default, chat on request) and the provider for compatible
// servers.
import assert from 'node:assert/strict';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, RetryError, embed, generateObject, generateText, jsonSchema, streamText, tool } from 'ai';
import {
  Question, assertRetryAfter, barred, cell, chatModel, embeddingModel, key, limited, raised, said,
  sameAsDirectly, spent, unknown, url, weather, words,
} from './callers.js';

const openai = (apiKey, base) => createOpenAI({ baseURL: `${base}/v1`, apiKey });
const compatible = (apiKey, base, options = {}) =>
  createOpenAICompatible({ name: 'tollgate', baseURL: `${base}/v1`, apiKey, ...options });

const models = {
  responses: (apiKey = key, base = url) => openai(apiKey, base)(chatModel),
  chat: (apiKey = key, base = url) => openai(apiKey, base).chat(chatModel),
  compatible: (apiKey = key, base = url) => compatible(apiKey, base, { includeUsage: true })(chatModel),
};

const tools = { weather: tool({ inputSchema: jsonSchema(weather) }) };

/** Reads a stream to its end; what it says about errors is thrown. */
async function read(options) {
  let [text, call] = ['', undefined];
  const answer = streamText({ onError: () => {}, ...options });
  for await (const part of answer.fullStream) {
    if (part.type === 'text-delta') text += part.text;
    if (part.type === 'tool-call') call = part;
    if (part.type === 'error') throw part.error instanceof Error ? part.error : new StreamPart(part.error);
  }
  return { text, call, usage: await answer.usage };
}

/** An error that is not an `Error` in the stream's `error` part, but the upstream's own object. */
class StreamPart extends Error {
  constructor(part) {
    super(JSON.stringify(part));
  }
}

/** The refusal behind an error: the SDK wraps it when it has tried again. */
const cause = (error) => (RetryError.isInstance(error) ? error.lastError : error);

for (const [api, model] of Object.entries(models)) {
  const ask = (question, asked = model(), more = {}) =>
    generateText({ model: asked, prompt: question.text, ...more });

  cell('chat', api, async () => {
    const { text, usage } = await ask(new Question());
    assert.equal(words(text), usage.outputTokens);
  });

  cell('stream', api, async () => {
    const { text, usage } = await read({ model: model(), prompt: new Question().text });
    assert.ok(text);
    assert.equal(words(text), usage.outputTokens);
  });

  cell('tools', api, async () => {
    const answer = await ask(new Question(), model(), { tools, toolChoice: 'required' });
    assert.equal(answer.toolCalls[0].toolName, 'weather');
    assert.ok(answer.toolCalls[0].input.city);
  });

  cell('streamed_tools', api, async () => {
    const { call } = await read({ model: model(), prompt: new Question().text, tools, toolChoice: 'required' });
    assert.equal(call.toolName, 'weather');
    assert.ok(call.input.city);
  });

  cell('cancellation', api, async () => {
    const question = new Question('stall=8:60s+out=53');
    const given = new AbortController();
    const answer = streamText({ model: model(), prompt: question.text, abortSignal: given.signal, onError: () => {} });
    for await (const piece of answer.textStream) {
      assert.ok(piece);
      given.abort();
      break;
    }
    assert.equal(await question.ended(), 'client_gone');
  });

  cell('upstream_429', api, async () => {
    const [question, begun] = [new Question('status=429:1+retry-after=3'), performance.now()];
    assert.ok((await ask(question)).text);
    assert.deepEqual(question.statuses(), [429, 200]);
    assert.ok(performance.now() - begun >= 2_990);
  });

  cell('upstream_429_raised', api, async (saw) => {
    const question = new Question('status=429+retry-after=7');
    const error = await sameAsDirectly((base) => ask(question, model(key, base), { maxRetries: 0 }));
    assert.ok(APICallError.isInstance(error));
    const headers = error.responseHeaders;
    assert.deepEqual([headers['retry-after'], headers['x-ratelimit-limit-requests']], ['7', '10000']);
    saw(`${said(error)}, headers in \`e.responseHeaders\``);
  });

  cell('stream_error', api, async (saw) => {
    const question = new Question('error-frame=6');
    const error = await sameAsDirectly((base) => read({ model: model(key, base), prompt: question.text }));
    saw(error instanceof StreamPart ? 'the upstream\'s object, in an `error` part' : `${said(error)}, in an \`error\` part`);
  });

  cell('stream_cut', api, async (saw) => {
    const question = new Question('cut=2500+out=60');
    const error = await sameAsDirectly((base) => read({ model: model(key, base), prompt: question.text }));
    saw(`${said(error)}, in an \`error\` part`);
  });

  cell('spent_budget', api, async (saw) => {
    const caller = await spent();
    const error = await raised(() => ask(caller.question, model(caller.key)));
    assert.ok(APICallError.isInstance(error));
    assert.deepEqual([error.statusCode, error.isRetryable], [402, false]);
    assert.equal(error.data.error.code, 'insufficient_quota');
    assert.equal(await caller.attempts(), 1);
    saw(`${said(error)}, \`e.data.error.code\` is \`insufficient_quota\``);
  });

  cell('spent_budget_stream', api, async () => {
    const caller = await spent();
    const error = await raised(() => read({ model: model(caller.key), prompt: caller.question.text }));
    assert.deepEqual([error.statusCode, await caller.attempts()], [402, 1]);
  });

  cell('rate_limit', api, async () => {
    const caller = await limited();
    await caller.useUp();
    assert.ok((await ask(caller.question, model(caller.key))).text);
    assert.equal(await caller.attempts(), 2);
  });

  cell('rate_limit_raised', api, async (saw) => {
    const caller = await limited();
    await caller.useUp();
    const error = cause(await raised(() => ask(caller.question, model(caller.key), { maxRetries: 0 })));
    assert.equal(error.statusCode, 429);
    assertRetryAfter(error.responseHeaders['retry-after']);
    assert.equal(await caller.attempts(), 1);
    saw(said(error));
  });

  cell('unknown_key', api, async (saw) => {
    const caller = await unknown();
    const error = await raised(() => ask(caller.question, model(caller.key)));
    assert.deepEqual([error.statusCode, await caller.attempts()], [401, 1]);
    saw(said(error));
  });

  cell('model_not_allowed', api, async (saw) => {
    const caller = await barred();
    const error = await raised(() => ask(caller.question, model(caller.key)));
    assert.deepEqual([error.statusCode, await caller.attempts()], [403, 1]);
    saw(said(error));
  });

  cell('structured_output', api, async () => {
    const asked = api === 'compatible'
      ? compatible(key, url, { supportsStructuredOutputs: true })(chatModel)
      : model();
    const { object } = await generateObject({
      model: asked, prompt: new Question().text, schema: jsonSchema(weather),
    });
    assert.ok(object.city);
  });
}

for (const [api, provider] of [['chat', openai(key, url)], ['compatible', compatible(key, url)]]) {
  cell('embeddings', api, async () => {
    const model = (provider.textEmbeddingModel ?? provider.embeddingModel).call(provider, embeddingModel);
    const { embedding } = await embed({ model, value: 'one' });
    assert.equal(embedding.length, 1536);
  });
}

cell('stream_usage', 'compatible', async () => {
  const { text, usage } = await read({ model: compatible(key, url)(chatModel), prompt: new Question().text });
  assert.ok(words(text) > 0);
  assert.equal(usage.outputTokens, undefined);
});

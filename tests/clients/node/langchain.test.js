// LangChain for JavaScript: `ChatOpenAI` by chat and by Responses, and its embeddings.
import assert from 'node:assert/strict';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import {
  Question, assertRetryAfter, barred, cell, chatModel, embeddingModel, key, limited, raised, said,
  sameAsDirectly, spent, unknown, url, weather, words,
} from './callers.js';

const schema = { title: 'weather', description: 'Where to look', ...weather };
const tools = [{ type: 'function', function: { name: 'weather', description: 'Looks out', parameters: weather } }];

for (const [api, useResponsesApi] of [['chat', false], ['responses', true]]) {
  const model = (apiKey = key, base = url, options = {}) =>
    new ChatOpenAI({ model: chatModel, apiKey, useResponsesApi, configuration: { baseURL: `${base}/v1` }, ...options });
  const ask = (question, asked = model()) => asked.invoke(question.text);
  const read = async (question, asked = model()) => {
    const chunks = [];
    for await (const chunk of await asked.stream(question.text)) chunks.push(chunk);
    return chunks.reduce((before, chunk) => before.concat(chunk));
  };

  cell('chat', api, async () => {
    const answer = await ask(new Question());
    assert.equal(words(answer.text), answer.usage_metadata.output_tokens);
  });

  cell('stream', api, async () => {
    const answer = await read(new Question());
    assert.ok(answer.text);
    assert.equal(words(answer.text), answer.usage_metadata.output_tokens);
  });

  cell('tools', api, async () => {
    const answer = await ask(new Question(), model().bindTools(tools, { tool_choice: 'weather' }));
    assert.equal(answer.tool_calls[0].name, 'weather');
    assert.ok(answer.tool_calls[0].args.city);
  });

  cell('streamed_tools', api, async () => {
    const answer = await read(new Question(), model().bindTools(tools, { tool_choice: 'weather' }));
    assert.equal(answer.tool_calls[0].name, 'weather');
    assert.ok(answer.tool_calls[0].args.city);
  });

  cell('structured_output', api, async () => {
    const place = await model().withStructuredOutput(schema, { method: 'jsonSchema' }).invoke(new Question().text);
    assert.ok(place.city);
  });

  cell('cancellation', api, async () => {
    const question = new Question('stall=8:60s+out=53');
    const given = new AbortController();
    const error = await raised(async () => {
      for await (const chunk of await model().stream(question.text, { signal: given.signal })) {
        assert.ok(chunk);
        given.abort();
      }
    });
    assert.ok(error);
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
    const error = await sameAsDirectly((base) => ask(question, model(key, base, { maxRetries: 0 })));
    assert.equal(error.status, 429);
    assert.deepEqual(
      ['retry-after', 'x-ratelimit-limit-requests'].map((name) => error.headers.get(name)), ['7', '10000'],
    );
    saw(`${said(error)}, headers in \`e.headers\``);
  });

  cell('stream_error', api, async (saw) => {
    const question = new Question('error-frame=6');
    saw(said(await sameAsDirectly((base) => read(question, model(key, base)))));
  });

  cell('stream_cut', api, async (saw) => {
    const question = new Question('cut=2500+out=60');
    saw(said(await sameAsDirectly((base) => read(question, model(key, base)))));
  });

  cell('spent_budget', api, async (saw) => {
    const caller = await spent();
    const error = await raised(() => ask(caller.question, model(caller.key)));
    assert.deepEqual([error.status, error.code], [402, 'insufficient_quota']);
    assert.equal(await caller.attempts(), 1);
    saw(`${said(error)}, \`e.code\` is \`insufficient_quota\``);
  });

  cell('spent_budget_stream', api, async () => {
    const caller = await spent();
    const error = await raised(() => read(caller.question, model(caller.key)));
    assert.deepEqual([error.status, await caller.attempts()], [402, 1]);
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
    const error = await raised(() => ask(caller.question, model(caller.key, url, { maxRetries: 0 })));
    assert.equal(error.status, 429);
    assertRetryAfter(error.headers.get('retry-after'));
    assert.equal(await caller.attempts(), 1);
    saw(said(error));
  });

  cell('unknown_key', api, async (saw) => {
    const caller = await unknown();
    const error = await raised(() => ask(caller.question, model(caller.key)));
    assert.deepEqual([error.status, await caller.attempts()], [401, 1]);
    saw(said(error));
  });

  cell('model_not_allowed', api, async (saw) => {
    const caller = await barred();
    const error = await raised(() => ask(caller.question, model(caller.key)));
    assert.deepEqual([error.status, await caller.attempts()], [403, 1]);
    saw(said(error));
  });
}

cell('embeddings', 'chat', async () => {
  const model = new OpenAIEmbeddings({ model: embeddingModel, apiKey: key, configuration: { baseURL: `${url}/v1` } });
  assert.equal((await model.embedQuery('one')).length, 1536);
});

// What every client test needs: who asks, which model, and the mock's own book.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

const { TOLLGATE_URL, TOLLGATE_KEY, TOLLGATE_SPENT_KEY, TOLLGATE_SLOW_KEY, TOLLGATE_DIRECT, MOCK_LOG } =
  process.env;

export const direct = TOLLGATE_DIRECT === '1';
export const baseURL = `${TOLLGATE_URL}/v1`;
export const key = TOLLGATE_KEY;
export const chatModel = 'gpt-4o-mini';
export const embeddingModel = 'text-embedding-3-small';
export const hello = [{ role: 'user', content: 'say hello' }];
export const weather = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
};

const refusals = {
  401: ['sk-nobody-has-this-key', 'mock-status=401'],
  402: [TOLLGATE_SPENT_KEY, 'mock-status=402'],
  429: [TOLLGATE_SLOW_KEY, 'mock-status=429+retry-after=7'],
};

/** A key and a model for which the answer is a refusal. Asked directly, the mock imitates it. */
export function refused(status) {
  const [refusedKey, imitation] = refusals[status];
  return direct ? { key, model: imitation } : { key: refusedKey, model: chatModel };
}

/** A `fetch` that counts its calls: one per attempt. */
export function counted() {
  const calls = { attempts: 0 };
  calls.fetch = (...request) => {
    calls.attempts += 1;
    return fetch(...request);
  };
  return calls;
}

/** How the mock's answer to `model`, a name used once, ended. Waits, since it ends after the client. */
export async function servedEnd(model, patience = 20_000) {
  for (const deadline = Date.now() + patience; Date.now() < deadline; await wait(50)) {
    const text = readFileSync(MOCK_LOG, 'utf8');
    const lines = text.slice(0, text.lastIndexOf('\n')).split('\n').filter(Boolean).map(JSON.parse);
    const begun = lines.find((line) => line.event === 'begin' && line.served.model === model);
    const ended = lines.find((line) => line.event === 'end' && line.id === begun?.served.id);
    if (ended) return ended.end;
  }
  throw new Error(`the mock never finished its answer to ${model}`);
}

/** Calls until the rate limit holds. */
export async function untilRefused(call, tries = 5) {
  for (let attempt = 0; attempt < tries; attempt += 1) {
    try {
      await call();
    } catch (error) {
      return error;
    }
  }
  throw new Error(`not refused in ${tries} calls`);
}

/** True to the second and below a minute: some SDKs sleep as long as they are told. */
export function assertRetryAfter(seconds) {
  assert.ok(Number(seconds) >= 1 && Number(seconds) < 60, `retry-after: ${seconds}`);
}

export const words = (text) => text.split(/\s+/).filter(Boolean).length;

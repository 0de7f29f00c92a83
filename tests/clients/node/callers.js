// Who asks, what, and who counts: the gateway's own books, or the mock's log where there is no gateway.
//
// Knobs of the mock stand in the text of a question, so that every model keeps its name and its price.
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';

const { TOLLGATE_URL, MOCK_URL, TOLLGATE_ADMIN, TOLLGATE_KEY, TOLLGATE_DIRECT, MOCK_LOG, CLIENT_RESULTS } =
  process.env;

export const direct = TOLLGATE_DIRECT === '1';
export const url = TOLLGATE_URL;
export const key = TOLLGATE_KEY;
export const chatModel = 'gpt-4o-mini';
export const claudeModel = 'claude-haiku-4-5';
export const embeddingModel = 'text-embedding-3-small';
// what is asked for when all else has been asked
const last = 'last';
export const weather = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
};

/** One case of the matrix: `body` gets a function that notes what the client's user sees. */
export function cell(name, api, body) {
  test(api ? `${api}: ${name}` : name, async () => {
    const result = { case: name, api, result: 'passed', saw: '', why: '' };
    try {
      await body((text) => { result.saw = text; });
    } catch (error) {
      Object.assign(result, { result: 'failed', why: String(error.message ?? error).split('\n').join(' ') });
      throw error;
    } finally {
      appendFileSync(CLIENT_RESULTS, `${JSON.stringify(result)}\n`);
    }
  });
}

let questions = 0;

/** A question that can be found again in the mock's log; `knobs` say how it is answered. */
export class Question {
  constructor(knobs = '') {
    questions += 1;
    this.mark = `question-${questions}`;
    this.text = `say hello [[mark:${this.mark}]]${knobs && ` [[mock:${knobs}]]`}`;
    this.messages = [{ role: 'user', content: this.text }];
  }

  /** What the mock answered to it: one status per attempt. */
  statuses() {
    return this.begun().map((served) => served.status);
  }

  /** How the mock's answer ended. Waits, since it ends after the client. */
  async ended(patience = 10_000) {
    for (const deadline = Date.now() + patience; Date.now() < deadline; await wait(50)) {
      const ids = this.begun().map((served) => served.id);
      const end = log().findLast((line) => line.event === 'end' && ids.includes(line.id));
      if (end) return end.end;
    }
    throw new Error(`the mock never finished its answer to ${this.mark}`);
  }

  begun() {
    const lines = log().filter((line) => line.event === 'begin' && line.served.mark === this.mark);
    return lines.map((line) => line.served);
  }
}

/** A key, and a question that is refused to it. Where there is no gateway the mock imitates the refusal. */
class Caller {
  static async of(name, callerKey, imitation) {
    const caller = new Caller();
    caller.key = direct ? key : callerKey;
    caller.question = new Question(direct ? imitation : '');
    caller.name = name;
    caller.before = direct ? 0 : await requests('key', name);
    return caller;
  }

  /** How often it asked, by the gateway's ledger. Every request is in it, refused or not. */
  async attempts() {
    if (direct) return this.question.statuses().length;
    // rows are written in order: when a later one is there, none of the earlier ones is missing
    const late = (await requests('model', last)) + 1;
    await statusOf(key, last);
    for (const deadline = Date.now() + 20_000; (await requests('model', last)) < late; await wait(20)) {
      assert.ok(Date.now() < deadline, 'the ledger never got the last request');
    }
    return (await requests('key', this.name)) - this.before;
  }

  /** Asks until the rate limit holds. */
  async useUp() {
    if (direct) return;
    for (let status = 0, asked = 0; status !== 429 && asked < 100; asked += 1) {
      this.before += 1;
      status = await statusOf(this.key);
    }
  }
}

/** A caller whose team has no budget left. */
export const spent = () => oneOf('spent', 'status=402');

/** A caller with 15 requests a minute; when they are used up, there is another one in 4 s. */
export const limited = () => oneOf('limited', 'status=429:1+retry-after=1');

/** A caller whose team may not ask for the models of these tests. */
export const barred = () => oneOf('barred', 'status=403');

/** A caller whose key nobody has. */
export const unknown = () => Caller.of('', 'sk-nobody-has-this-key', 'status=401');

const taken = { spent: 0, limited: 0, barred: 0 };

function oneOf(team, imitation) {
  taken[team] += 1;
  const name = `${team}-${String(taken[team]).padStart(2, '0')}`;
  return Caller.of(name, `client-tests-key-${name}`, imitation);
}

/** The error that a call ends with. */
export async function raised(call) {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: 'no error was raised' });
}

/** The error of a call, given the address to ask; it must be the one that the mock itself causes. */
export async function sameAsDirectly(call) {
  const through = await raised(() => call(TOLLGATE_URL));
  const directly = await raised(() => call(MOCK_URL));
  assert.deepEqual([through.constructor.name, through.message], [directly.constructor.name, directly.message]);
  return through;
}

/** True to the second and below a minute: some SDKs sleep as long as they are told. */
export function assertRetryAfter(seconds) {
  assert.ok(Number(seconds) >= 1 && Number(seconds) < 60, `retry-after: ${seconds}`);
}

/** An error as its user sees it: its name, and the status. */
export function said(error) {
  const status = error.status ?? error.statusCode;
  return `\`${error.constructor.name}\`${status ? ` ${status}` : ''}`;
}

export const words = (text) => text.split(/\s+/).filter(Boolean).length;

function log() {
  const text = readFileSync(MOCK_LOG, 'utf8');
  return text.slice(0, text.lastIndexOf('\n')).split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

/** Requests of one key or for one model, by the ledger. Unknown keys have no name. */
async function requests(column, value) {
  const { rows } = await (await fetch(`http://${TOLLGATE_ADMIN}/api/v1/usage?by=${column}`)).json();
  return rows.filter((row) => row[column] === value).reduce((sum, row) => sum + row.requests, 0);
}

async function statusOf(callerKey, model = chatModel) {
  const answer = await fetch(`${TOLLGATE_URL}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${callerKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hello' }] }),
  });
  await answer.arrayBuffer();
  return answer.status;
}

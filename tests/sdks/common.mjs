// What both Node clients need: the sandbox's folder and control port, and a server that hears notifications.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';

export const folder = process.argv[2];
const text = (path) => readFileSync(`${folder}/${path}`, 'utf8');
export const ready = JSON.parse(text('sandbox.json'));
export const file = (path) => readFileSync(path, 'utf8');

/** The channel's options, as the sandbox wrote them. */
export function credentials(channel) {
  const lines = text(`${channel}/credentials.toml`).split('\n').filter((line) => /^[# ]*\w+ = "/.test(line));
  return Object.fromEntries(lines.map((line) => /(\w+) = "(.*)"$/.exec(line).slice(1)));
}

export async function control(path, body = {}) {
  const answer = await fetch(ready.control_url + path, { method: 'POST', body: JSON.stringify(body) });
  return answer.json();
}

export function yesterday() {
  return new Date(Date.now() + (8 - 24) * 3_600_000).toISOString().slice(0, 10);
}

/** Hears notifications at `url`; `next()` waits for one. */
export async function ear(answer) {
  const heard = []; const waiting = [];
  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const event = { headers: request.headers, body: Buffer.concat(chunks).toString() };
      if (waiting.length) waiting.shift()(event); else heard.push(event);
      response.end(answer);
    });
  });
  await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
  return {
    url: `http://127.0.0.1:${server.address().port}/notify`,
    next: () => (heard.length ? heard.shift() : new Promise((done, failed) => {
      waiting.push(done);
      setTimeout(() => failed(new Error('no notification within 10 s')), 10_000).unref();
    })),
    close: () => server.close(),
  };
}

export function check(what, condition, shown = '') {
  if (!condition) { console.error(`FAILED: ${what}:`, shown); process.exit(1); }
  console.log(`  ok: ${what}`);
}

const $ = (selector) => document.querySelector(selector);

async function ask(method, path, body) {
  const answer = await fetch(path, { method, body: body === undefined ? undefined : JSON.stringify(body) });
  return { good: answer.ok, said: await answer.json() };
}

function show(where, { good, said }) {
  where.className = good ? 'good' : 'bad';
  where.textContent = said.error ?? JSON.stringify(said);
}

function row(cells) {
  const line = document.createElement('tr');
  for (const [value, kind] of cells) {
    const cell = document.createElement('td');
    cell.className = kind ?? '';
    cell.textContent = value;
    line.append(cell);
  }
  return line;
}

async function refresh() {
  const [{ said: { seen } }, { said: counts }] = await Promise.all([ask('GET', '/_sandbox/seen'), ask('GET', '/_sandbox/stats')]);
  const verdict = (text) => (/signature good$/.test(text) ? 'good' : 'bad');
  $('#seen tbody').replaceChildren(...seen.slice(0, 100).map((s) => row([
    [s.at], [s.channel], [s.call], [s.status || '–', 'n'], [s.verdict, verdict(s.verdict)],
  ])));
  $('#counts tbody').replaceChildren(...Object.entries(counts).map(([what, n]) => row([[what], [n, 'n']])));
}

$('#pay').addEventListener('submit', async (event) => {
  event.preventDefault();
  show($('#paid'), await ask('POST', '/_sandbox/pay', Object.fromEntries(new FormData(event.target))));
  refresh();
});

async function setFaults(channels) {
  const answer = await ask('PUT', '/_sandbox/faults', { channels });
  show($('#set'), answer.good ? { good: true, said: { error: 'set' } } : answer);
  if (answer.good) $('#faults textarea').value = JSON.stringify(answer.said.channels, null, 2);
}

$('#faults').addEventListener('submit', (event) => {
  event.preventDefault();
  try {
    setFaults(JSON.parse(event.target.faults.value));
  } catch (error) {
    show($('#set'), { good: false, said: { error: `not JSON: ${error.message}` } });
  }
});

for (const button of document.querySelectorAll('[data-preset]')) {
  button.addEventListener('click', () => setFaults({ [$('#preset-channel').value]: JSON.parse(button.dataset.preset) }));
}
for (const button of document.querySelectorAll('[data-post]')) {
  button.addEventListener('click', async () => show($('#done'), await ask('POST', button.dataset.post)));
}
refresh();
setInterval(refresh, 2000);

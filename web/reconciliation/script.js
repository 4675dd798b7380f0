const $ = (selector) => document.querySelector(selector);
const api = '/admin/v1/reconciliation';
const yuan = (fen) => (fen === null || fen === undefined ? '–' : `¥${(fen / 100).toFixed(2)}`);
let token = sessionStorage.getItem('rushpay-token') ?? '';

async function ask(path, method = 'GET', body) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  if (body !== undefined) headers['content-type'] = 'application/json';
  const answer = await fetch(api + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const faults = (problem.errors ?? []).map((fault) => fault.problem).join('; ');
  throw new Error(faults || problem.detail || `the service answered ${answer.status}`);
}

function say(text, good) {
  $('#said').className = good ? 'good' : 'bad';
  $('#said').textContent = text;
}

function cell(value, kind, small) {
  const made = document.createElement('td');
  if (kind) made.className = kind;
  made.append(value ?? '');
  if (small) {
    const below = document.createElement('small');
    below.textContent = small;
    made.append(below);
  }
  return made;
}

function line(cells) {
  const made = document.createElement('tr');
  made.append(...cells);
  return made;
}

function progress(run) {
  if (run.state === 'done') return 'done';
  if (run.state === 'waiting') return `try ${run.tries}`;
  const bar = document.createElement('progress');
  bar.max = Math.max(1, run.lines * (run.state === 'matching' ? 2 : 1));
  bar.value = run.state === 'matching' ? run.numbers_matched : run.lines_imported;
  return bar;
}

function act(difference) {
  if (!['open', 'confirmed_once'].includes(difference.state)) return difference.chosen ?? '';
  const button = document.createElement('button');
  button.textContent = difference.state === 'open' ? `${difference.fix} ${yuan(difference.fix_fen)} …` : `second: ${difference.chosen} …`;
  button.addEventListener('click', () => open(difference));
  return button;
}

function open(difference) {
  const form = $('#act form');
  $('#act-title').textContent = `Difference ${difference.id}: ${difference.kind}`;
  $('#act-detail').textContent = `${difference.detail}. ${difference.first_by ? `${difference.first_by} confirmed ${difference.chosen}.` : ''}`;
  const fixes = difference.chosen ? [difference.chosen] : [...new Set([difference.fix, 'write_off'])];
  form.fix.replaceChildren(...fixes.map((fix) => new Option(fix)));
  form.note.value = '';
  const dialog = $('#act');
  dialog.onclose = async () => {
    if (dialog.returnValue !== 'confirm') return;
    try {
      const answer = await ask(`/differences/${difference.id}/confirm`, 'POST', { fix: form.fix.value, note: form.note.value });
      const { difference: now } = await answer.json();
      say(`Difference ${now.id} is ${now.state}. ${now.outcome ?? ''}`, true);
    } catch (error) {
      say(error.message, false);
    }
    refresh();
  };
  dialog.returnValue = 'cancel';
  dialog.showModal();
}

function parameters() {
  return new URLSearchParams([...new FormData($('#which'))].filter(([, value]) => value));
}

async function refresh() {
  try {
    const [found, days, missed] = await Promise.all(
      [`/differences?${parameters()}`, '/runs?limit=40', '/gaps?limit=20'].map(async (path) => (await ask(path)).json()),
    );
    const live = found.live.reduce((sum, { count }) => sum + count, 0);
    $('#sum').textContent = live ? `${live} differences to act on.` : 'No difference to act on.';
    $('#differences tbody').replaceChildren(...found.differences.map((d) => line([
      cell(d.id), cell(d.channel, '', d.day), cell(d.kind, 'state'),
      cell(d.detail, '', `${d.number}${d.line ? `, line ${d.line}` : ''}`),
      cell(yuan(d.ours_fen), 'n'), cell(yuan(d.theirs_fen), 'n'),
      cell(d.overdue ? `${d.state}, overdue` : d.state, d.overdue ? 'state bad' : 'state', [d.first_by, d.second_by].filter(Boolean).join(', ')), cell(act(d), '', d.outcome),
    ])));
    $('#none').hidden = found.differences.length > 0;
    $('#runs tbody').replaceChildren(...days.runs.map((r) => line([
      cell(r.day), cell(r.channel), cell(r.state, r.state === 'done' ? 'good' : ''), cell(progress(r)),
      cell(r.lines, 'n'), cell(yuan(r.paid_fen), 'n'), cell(yuan(r.refunded_fen), 'n'), cell(yuan(r.fee_fen), 'n'),
      cell(r.problem ?? (r.ended_at ? r.ended_at : ''), r.problem ? 'bad' : ''),
    ])));
    $('#gaps tbody').replaceChildren(...missed.gaps.map((g) => line([
      cell(g.captured_at), cell(g.channel), cell(g.channel_order_no), cell(g.captured_by),
      cell(g.verdict, g.verdict === 'matched' ? 'good' : 'bad'), cell(g.detail),
    ])));
  } catch (error) {
    $('#sum').textContent = '';
    say(error.message, false);
  }
}

$('#who').addEventListener('submit', (event) => {
  event.preventDefault();
  token = event.target.token.value;
  sessionStorage.setItem('rushpay-token', token);
  say('', true);
  refresh();
});

$('#want').addEventListener('submit', async (event) => {
  event.preventDefault();
  const { day, channel } = Object.fromEntries(new FormData(event.target));
  try {
    const { runs } = await (await ask('/runs', 'POST', channel ? { day, channel } : { day })).json();
    const done = runs.filter((run) => run.state === 'done').map((run) => run.channel);
    say(done.length ? `Reconciled before, nothing changed: ${done.join(', ')}.` : 'Asked for.', true);
  } catch (error) {
    say(error.message, false);
  }
  refresh();
});

$('#which').addEventListener('change', refresh);
$('#csv').addEventListener('click', async () => {
  try {
    const file = await (await ask(`/differences.csv?${parameters()}`)).blob();
    const link = document.createElement('a');
    link.href = URL.createObjectURL(file);
    link.download = 'differences.csv';
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (error) {
    say(error.message, false);
  }
});

refresh();
setInterval(() => document.hidden || $('#act').open || refresh(), 3000);

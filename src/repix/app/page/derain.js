// The Derain tab: it starts on drop. One item a file; what can be downloaded is always what is shown.
import { $, all, make, t, call, upload, save, begin, forget, cancel, guard, Divider, config, take, onFiles, options } from './page.js';
import { label, trouble, downloadWords, time, progress, ended, drawThumbs } from './parts.js';

const items = [];
let current = null, divider = null, uploading = 0, keys = 0;
let sent = null; // the last file's way to the server
const UPLOADS = 2; // at once

const say = (text) => { $('#said').textContent = text; };
const open = (item) => ['queued', 'uploading', 'waiting', 'running'].includes(item.state);

// ---- items ----

function add(files, sample = false) {
  const first = items.length;
  for (const file of files) {
    items.push({ key: keys += 1, file, sample, state: 'queued', fraction: 0, seconds: 0, up: null, original: null, job: null, result: null, error: '', doing: {}, aborter: new AbortController() });
  }
  current = current || items[first];
  if (files.length) current = first && !open(current) ? items[first] : current;
  say(files.length === 1 ? t('{} is added', files[0].name) : t('{} files are added', files.length));
  pump();
  draw();
}
function pump() {
  while (uploading < UPLOADS) {
    const item = items.find((one) => one.state === 'queued' && !one.up);
    if (!item) return;
    uploading += 1;
    sent = send(item, sent);
    sent.finally(() => { uploading -= 1; pump(); });
  }
}
async function send(item, previous) {
  item.state = 'uploading';
  item.fraction = 0;
  draw();
  try {
    item.up = await upload(item.file, { signal: item.aborter.signal, onProgress: (part) => { item.fraction = part; draw(); } });
    item.original = item.up;
    await previous; // jobs are asked for in the order of the files
    if (item.state === 'uploading') await run(item);
  } catch (error) {
    if (error.name !== 'AbortError') fail(item, error.message);
  }
  draw();
}
function fail(item, sentence) {
  item.state = 'failed';
  item.error = sentence;
  say(trouble(items, item, sentence));
}
async function run(item) { // whatever it had is out of date
  if (item.job) forget([item.job]);
  const turn = item.turn = (item.turn || 0) + 1;
  Object.assign(item, { state: 'waiting', job: null, result: null, error: '', fraction: 0, place: 0, seconds: 0, left: null, doing: {} });
  draw();
  try {
    const asked = { kind: 'derain', file: item.up.id, model: $('#model').value, quality: $('#quality').value };
    const job = await begin(asked, (state) => { if (item.turn === turn && items.includes(item)) told(item, state); }, item.sample);
    if (item.turn !== turn || !items.includes(item)) { forget([job]); return; }
    item.job = job;
    if (item.state === 'cancelled') cancel([job]); // while it was being asked for
  } catch (error) {
    if (item.turn === turn) fail(item, error.message);
  }
  draw();
}
function told(item, state) {
  if (item.state === 'cancelled') return;
  Object.assign(item, { fraction: state.fraction ?? 0, place: state.place ?? 0, seconds: state.seconds ?? 0, left: state.left ?? null, doing: state.doing ?? {} });
  item.state = state.state;
  if (state.state === 'done') {
    item.result = state.result;
    item.saved = false;
    const done = items.filter((one) => one.state === 'done').length;
    say(items.length === 1 ? t('{} is done', label(items, item)) : t('{} of {} are done', done, items.length));
    if (current && open(current) && !touched) current = item; // the first result is shown first
  } else if (state.state === 'failed') fail(item, state.error);
  draw();
}
function stop(list) {
  const jobs = list.filter((item) => item.job).map((item) => item.job);
  for (const item of list) {
    item.aborter.abort();
    item.aborter = new AbortController();
    item.state = 'cancelled';
  }
  cancel(jobs).catch((error) => say(error.message));
}
function goOn(list) {
  for (const item of list) {
    if (item.up) run(item); else item.state = 'queued';
  }
  pump();
  draw();
}
function remove(list) {
  forget(list.filter((item) => item.job).map((item) => item.job));
  for (const item of list) {
    item.aborter.abort();
    const index = items.indexOf(item);
    items.splice(index, 1);
    if (item === current) current = items[Math.min(index, items.length - 1)] || null;
  }
  draw();
  if (!items.length) { say(t('all files are removed')); $('[data-choose=derain-files]').focus(); }
}

// ---- what is shown ----

let touched = false; // the user has chosen what to look at
function choose(item) {
  touched = true;
  current = item;
  draw();
  $('#thumbs [aria-current=true]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
}
function status() {
  const busy = items.filter(open), done = items.filter((item) => item.state === 'done').length;
  const parts = [];
  let value = null, share = null;
  if (busy.length) {
    if (items.length > 1) parts.push(t('{} of {} done', done, items.length));
    const running = items.find((item) => item.state === 'running');
    const first = running || busy[0];
    share = (items.length - busy.length + (running ? running.fraction : 0)) / items.length;
    if (running) {
      if (running.fraction) parts.push(t('{} %', Math.floor(100 * running.fraction)));
      const words = progress(running.doing), { left } = running;
      parts.push(...words.length ? words : [t('about to begin')]);
      const finished = items.filter((item) => item.state === 'done' && item.seconds);
      const mean = finished.length ? finished.reduce((sum, item) => sum + item.seconds, 0) / finished.length : left && left + running.seconds;
      const rest = (left ?? (mean ? Math.max(0, mean - running.seconds) : null));
      if (rest !== null && mean !== null) parts.push(t('about {} left', time(rest + mean * (busy.length - 1))));
      else if (running.seconds > 2) parts.push(t('{} so far', time(running.seconds)));
    } else if (first.state === 'waiting' && first.place > 0) parts.push(t('waits for its turn; {} before it', first.place));
    else if (first.state === 'uploading') parts.push(first.fraction < 1 ? t('reading the file, {} %', Math.floor(100 * first.fraction)) : t('reading the image'));
    else parts.push(t('about to begin'));
    value = items.length === 1 ? (first.state === 'waiting' || !first.fraction ? null : first.fraction) : share;
  } else parts.push(...ended(items));
  $('#status').textContent = parts.join(' · ');
  const bar = $('#bar');
  bar.hidden = !busy.length;
  if (value === null) bar.removeAttribute('value'); else bar.value = value;
  $('#progress').classList.toggle('busy', busy.length > 0);
  $('#cancel').hidden = !busy.length;
  $('#go-on').hidden = busy.length > 0 || !items.some((item) => item.state === 'cancelled');
}
function draw() {
  $('#welcome').hidden = items.length > 0;
  $('#work').hidden = !items.length;
  if (!items.length) return;
  const item = current, done = item.state === 'done', video = item.up?.kind === 'video';
  const ready = items.filter((one) => one.state === 'done');
  $('#trouble').hidden = item.state !== 'failed';
  $('#trouble').textContent = item.error;
  $('#stage').hidden = !item.up;
  if (item.up) {
    const after = done ? item.result.url : null;
    divider.show({ before: item.up.url, after, video, name: item.up.name });
    divider.element.classList.toggle('rain', done && !video && $('[name=view]:checked').value === 'rain');
  }
  const size = item.up?.width ? `${item.up.width} × ${item.up.height}` : '';
  $('#caption').textContent = [label(items, item), size, item.doing.model, ...(done ? item.result.notes : [])].filter(Boolean).join(' · ');
  $('#strength-field').hidden = $('#views').hidden = video;
  $('#download').disabled = !done;
  $('#download').textContent = downloadWords(item);
  const most = $('#download-all');
  most.hidden = items.length < 2;
  most.disabled = !ready.length;
  most.textContent = ready.length === items.length ? t('Download all {} (zip)', items.length) : t('Download {} of {} (zip)', ready.length, items.length);
  $('#rain-box').hidden = video;
  $('#add-rain').disabled = !item.up;
  $('#other-rain').disabled = $('#undo-rain').disabled = !item.up || item.up === item.original;
  $('#strip').hidden = items.length < 2;
  const picture = (one) => (one.up?.kind === 'image' ? one.up.url : '');
  drawThumbs($('#thumbs'), items, item, { choose, image: picture, sign: (one) => (one.up?.kind === 'video' ? '▶' : '·') });
  status();
}

// ---- controls ----

async function download(list, button) {
  button.disabled = true;
  try {
    const asked = { jobs: list.map((item) => item.job), strength: +$('#strength').value, format: $('#format').value || null, compare: $('#beside').checked };
    if (list.every((item) => item.up.kind === 'video')) Object.assign(asked, { strength: 1, format: null, compare: false });
    const made = await call('ui/download', asked);
    save(made.url, made.name);
    for (const [k, item] of list.entries()) if (item.job === asked.jobs[k]) item.saved = true; // not one that was begun again meanwhile
  } catch (error) {
    say(error.message);
    $('#status').textContent = error.message;
    button.disabled = false;
    return;
  }
  draw();
}
let seed = 0;
async function rain(item, next) { // always over the original
  if (next) seed += 1;
  $('#add-rain').disabled = $('#other-rain').disabled = true;
  try {
    const made = await call('ui/rain', { file: item.original.id, severity: +$('#severity').value, seed });
    if (!items.includes(item)) return;
    item.up = made;
      await run(item);
  } catch (error) { say(error.message); $('#status').textContent = error.message; }
  draw();
}

function drafts() { // which need a model that works on reduced images too
  const can = config.drafts.includes($('#model').value || config.model), quality = $('#quality');
  $('[value=draft]', quality).hidden = $('[value=draft]', quality).disabled = !can;
  if (!can && quality.value === 'draft') quality.value = 'fast';
}

export function build() {
  divider = new Divider($('#stage'));
  $('#model').append(make('option', { value: '' }, t('Automatic'))); // the server knows what suits images and videos
  options($('#model'), config.models.derain, '');
  options($('#format'), config.formats);
  $('#derain-files').accept = config.accept.join(',');
  onFiles($('#derain-files'), add);
  take('derain', add);
  guard(() => items.some((item) => !item.sample && (open(item) || (item.state === 'done' && !item.saved))));
  $('#sample').addEventListener('click', async () => {
    const answer = await fetch('static/rainy.jpg');
    add([new File([await answer.blob()], 'rainy.jpg', { type: 'image/jpeg' })], true);
  });
  $('#cancel').addEventListener('click', () => {
    stop(items.filter(open));
    say(ended(items)[0]);
    draw();
    $('#go-on').focus();
  });
  $('#go-on').addEventListener('click', () => { goOn(items.filter((item) => item.state === 'cancelled')); $('#cancel').focus(); });
  $('#strength').addEventListener('input', () => {
    const value = +$('#strength').value;
    $('#strength-said').textContent = t('{} %', Math.round(100 * value));
    divider.setStrength(value);
  });
  for (const input of all('[name=view]')) input.addEventListener('change', draw);
  drafts();
  $('#model').addEventListener('change', drafts);
  for (const id of ['#model', '#quality']) $(id).addEventListener('change', () => {
    say(t('The settings have changed; everything is derained again.'));
    goOn(items.filter((item) => item.up));
  });
  $('#severity').addEventListener('input', () => { $('#severity-said').textContent = t('{} %', Math.round(100 * $('#severity').value)); });
  $('#download').addEventListener('click', () => download([current], $('#download')));
  $('#download-all').addEventListener('click', () => download(items.filter((item) => item.state === 'done'), $('#download-all')));
  $('#remove').addEventListener('click', () => remove([current]));
  $('#clear').addEventListener('click', () => remove([...items]));
  $('#add-rain').addEventListener('click', () => rain(current, false));
  $('#other-rain').addEventListener('click', () => rain(current, true));
  $('#undo-rain').addEventListener('click', () => { current.up = current.original; run(current); });
  const step = (by) => choose(items[(items.indexOf(current) + by + items.length) % items.length]);
  $('#previous').addEventListener('click', () => step(-1));
  $('#next').addEventListener('click', () => step(1));
  divider.setStrength(1);
}

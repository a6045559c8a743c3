// The page: it starts on drop, one photo after the other, in a worker. What can be downloaded is what is shown.
import { $, t, translatePage, keepFocus, bring, onFiles, onDrops, save, label, trouble, downloadWords, time, doing, ended, drawThumbs, Divider } from '../../src/repix/app/page/parts.js';
import { chinese } from './zh.js';

translatePage(chinese);
keepFocus();
const items = [];
const PATIENCE = 5000; // ms for the service worker, without which there are no threads
let current = null, keys = 0, touched = false;
let worker = null, isReady = false, broken = ''; // broken: why there is no engine
const divider = new Divider($('#stage'));
const say = (text) => { $('#said').textContent = text; };
const isOpen = (item) => item.state === 'waiting' || item.state === 'running';

// ---- isolation: threads need it, and a service worker brings it to any host (sw.js) ----

async function isolate() { // whether the page is about to be loaded again
  if (crossOriginIsolated) { sessionStorage.removeItem('again'); if (!navigator.serviceWorker?.controller) navigator.serviceWorker?.register('sw.js').catch(() => {}); return false; }
  try {
    const registration = await navigator.serviceWorker.register('sw.js');
    await Promise.race([navigator.serviceWorker.ready, new Promise((go) => setTimeout(go, PATIENCE))]);
    if (!registration?.active || items.length || sessionStorage.getItem('again')) return false;
    sessionStorage.setItem('again', 'yes');
    location.reload();
    return true;
  } catch { return false; } // such as a file of this disk, or a private window
}

// ---- the worker ----

const threads = () => (crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1);
function begin() {
  worker?.terminate();
  isReady = false;
  broken = '';
  const mine = worker = new Worker('worker.js', { type: 'module' });
  mine.onmessage = ({ data }) => { if (mine === worker) told(data); };
  mine.onerror = (event) => { event.preventDefault(); if (mine === worker) told({ kind: 'failed', words: '{}', values: [event.message || t('the browser ended it')] }); };
  mine.postMessage({ kind: 'start', threads: threads(), gpu: $('#engine').value === 'gpu' });
  engineSaid();
}
function engineSaid() {
  const count = threads();
  const how = $('#engine').value === 'gpu' ? t('Runs on the graphics card. Nobody has tried that yet.')
    : count > 1 ? t('Runs on {} threads of the processor.', count)
    : crossOriginIsolated ? t('Runs on one thread of the processor.') : t('Runs on one thread of the processor, because this page is not isolated here.');
  $('#engine-said').textContent = broken || (isReady ? how : t('Loading the network …'));
}
function told(data) {
  const item = items.find((one) => one.key === data.id && one.state === 'running');
  if (data.kind === 'ready') { isReady = true; document.body.dataset.ready = 'true'; engineSaid(); next(); }
  else if (data.kind === 'failed') failed(data, item);
  else if (!item) return;
  else if (data.kind === 'progress') {
    if (data.width) Object.assign(item, { width: data.width, height: data.height });
    if (data.before) { URL.revokeObjectURL(item.url); item.url = URL.createObjectURL(data.before); } // upright
    if (data.level !== item.level && data.fraction < 1) say(`${label(items, item)}: ${doing(data.level)}`);
    item.from = item.from ?? (data.fraction > 0 ? { fraction: data.fraction, time: performance.now() } : undefined);
    Object.assign(item, { level: data.level, fraction: data.fraction });
  } else if (data.kind === 'draft') {
    item.draft = URL.createObjectURL(data.blob);
    item.draftSeconds = (performance.now() - item.started) / 1000;
    say(t('A draft of {} is shown', label(items, item)));
  } else if (data.kind === 'done') {
    drop(item);
    const stem = item.file.name.replace(/\.[^.]*$/, ''), fitting = data.suffix === 'png' ? /\.(png)$/i : /\.(jpe?g)$/i;
    const name = `${stem}_derained.${fitting.exec(item.file.name)?.[1] ?? data.suffix}`;
    item.result = { url: URL.createObjectURL(data.blob), name, lost: data.lost, levels: data.levels };
    Object.assign(item, { state: 'done', seconds: (performance.now() - item.started) / 1000 });
    say(items.length === 1 ? t('{} is done', label(items, item)) : t('{} of {} are done', items.filter((one) => one.state === 'done').length, items.length));
    if (isOpen(current) && !touched) current = item;
    next();
    if (item === current) bring($('#stage'));
  }
  draw();
}
function failed(data, item) {
  const sentence = t(data.words, ...data.values);
  if (item) fail(item, data.isFile ? sentence : t('This browser could not work it out ({}). A smaller photo may do.', sentence));
  if (data.isFile) { next(); return; }
  const lost = items.find((one) => one.state === 'running'); // the worker itself has ended
  if (lost) fail(lost, t('This browser could not work it out ({}). A smaller photo may do.', sentence));
  if (item || lost) begin();
  else {
    broken = t('The network could not be loaded ({}). Load this page again.', sentence);
    for (const one of items.filter(isOpen)) fail(one, broken);
    engineSaid();
  }
}
function fail(item, sentence) {
  drop(item);
  Object.assign(item, { state: 'failed', error: sentence });
  say(trouble(items, item, sentence));
}
function next() {
  if (!isReady || items.some((item) => item.state === 'running')) return;
  const item = items.find((one) => one.state === 'waiting');
  if (!item) return;
  Object.assign(item, { state: 'running', started: performance.now(), fraction: 0, level: 0, from: undefined });
  worker.postMessage({ kind: 'derain', id: item.key, file: item.file });
}

// ---- items ----

function drop(item) {
  if (item.draft) URL.revokeObjectURL(item.draft);
  item.draft = null;
}
function add(files) {
  const first = items.length;
  for (const file of files) {
    const item = { key: keys += 1, file, url: URL.createObjectURL(file), state: 'waiting', error: '', draft: null, result: null };
    items.push(item);
    if (file.type.startsWith('video/')) fail(item, t('{} is a video; this page takes photos. The program repix takes videos.', file.name));
    else if (broken) fail(item, broken);
  }
  current = first && current && isOpen(current) ? current : items[first];
  say(files.length === 1 ? t('{} is added', files[0].name) : t('{} files are added', files.length));
  next();
  draw();
}
function stop() { // at once: the worker ends, and another takes its place
  const running = items.some((item) => item.state === 'running');
  for (const item of items.filter(isOpen)) { drop(item); item.state = 'cancelled'; }
  if (running) begin();
}
function remove(item) {
  if (item.state === 'running') begin();
  drop(item);
  URL.revokeObjectURL(item.url);
  if (item.result) URL.revokeObjectURL(item.result.url);
  const index = items.indexOf(item);
  items.splice(index, 1);
  current = items[Math.min(index, items.length - 1)] ?? null;
  next();
  draw();
  if (!items.length) { say(t('all files are removed')); $('#choose').focus(); }
}

// ---- what is shown ----

function status() {
  const busy = items.filter(isOpen), done = items.filter((item) => item.state === 'done').length;
  const running = items.find((item) => item.state === 'running'), parts = [];
  if (busy.length) {
    if (items.length > 1) parts.push(t('{} of {} done', done, items.length));
    if (running) {
      if (running.level > 0) parts.push(t('{} %', Math.floor(100 * running.fraction)));
      parts.push(doing(running.level));
      const since = running.from && (performance.now() - running.from.time) / 1000, made = running.from && running.fraction - running.from.fraction;
      if (made > 0) parts.push(t('about {} left', time((since * (1 - running.fraction)) / made)));
    } else parts.push(t('Loading the network …'));
  } else parts.push(...ended(items));
  $('#status').textContent = parts.join(' · ');
  const bar = $('#bar'), share = (items.length - busy.length + (running?.fraction ?? 0)) / items.length;
  bar.hidden = !busy.length;
  bar.value = share; // never without a value: drawing the motion over a large photo takes half of a processor
  $('#progress').classList.toggle('busy', busy.length > 0);
  $('#cancel').hidden = !busy.length;
  $('#go-on').hidden = busy.length > 0 || !items.some((item) => item.state === 'cancelled');
}
function choose(item) {
  touched = true;
  current = item;
  draw();
  $('#thumbs [aria-current=true]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
}
function draw() {
  $('#welcome').hidden = items.length > 0;
  $('#work').hidden = !items.length;
  if (!current) return;
  const item = current, done = item.state === 'done';
  $('#trouble').hidden = item.state !== 'failed';
  $('#trouble').textContent = item.error;
  $('#stage').hidden = item.state === 'failed';
  if (item.state !== 'failed') divider.show({ before: item.url, after: done ? item.result.url : item.draft, name: item.file.name });
  const size = item.width ? `${item.width} × ${item.height}` : '';
  const notes = done && item.result.lost.length ? t('not kept: {}', item.result.lost.map((one) => t(one)).join(', ')) : '';
  $('#caption').textContent = [label(items, item), size, item.draft ? t('a draft; the whole follows') : '', notes].filter(Boolean).join(' · ');
  $('#stage').dataset.levels = done ? item.result.levels.join() : '';
  $('#download').disabled = !done;
  $('#download').textContent = downloadWords(item);
  const ready = items.filter((one) => one.state === 'done').length;
  $('#download-all').hidden = items.length < 2;
  $('#download-all').disabled = !ready;
  $('#download-all').textContent = t('Download all that are done ({})', ready);
  $('#strip').hidden = items.length < 2;
  drawThumbs($('#thumbs'), items, current, { choose, image: (one) => one.url, sign: () => '·' });
  status();
}
setInterval(() => { if (items.some((item) => item.state === 'running')) status(); }, 1000);

// ---- files and buttons ----

for (const id of ['#choose', '#more']) $(id).addEventListener('click', () => $('#files').click());
onFiles($('#files'), add);
onDrops(add);
$('#sample').addEventListener('click', async () => add([new File([await (await fetch('rainy.jpg')).blob()], 'rainy.jpg', { type: 'image/jpeg' })]));
$('#cancel').addEventListener('click', () => {
  stop();
  say(ended(items)[0]);
  draw();
  $('#go-on').focus();
});
$('#go-on').addEventListener('click', () => {
  for (const item of items) if (item.state === 'cancelled') item.state = 'waiting';
  next();
  draw();
  $('#cancel').focus();
});
$('#download').addEventListener('click', () => save(current.result.url, current.result.name));
$('#download-all').addEventListener('click', () => items.filter((item) => item.state === 'done').forEach((item) => save(item.result.url, item.result.name)));
$('#remove').addEventListener('click', () => remove(current));
const step = (by) => choose(items[(items.indexOf(current) + by + items.length) % items.length]);
$('#previous').addEventListener('click', () => step(-1));
$('#next').addEventListener('click', () => step(1));
$('#engine').addEventListener('change', () => {
  for (const item of items) if (item.state === 'running') { drop(item); item.state = 'waiting'; }
  begin();
  draw();
});

if (!await isolate()) {
  begin();
  navigator.gpu?.requestAdapter().then((adapter) => { $('#engine-field').hidden = !adapter; }, () => {});
}

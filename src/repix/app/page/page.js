// What every tab shares: the session, requests, jobs, tabs, files that are chosen or dropped.
import { $, all, make, t, translatePage, keepFocus, onDrops, canOpen, save as saveLink } from './parts.js';

export { $, all, make, t, bring, say, onFiles, Divider } from './parts.js';

const random = crypto.getRandomValues(new Uint8Array(16));
const session = [...random].map((byte) => byte.toString(16).padStart(2, '0')).join('');
const headers = { 'X-Repix-Session': session };

// ---- requests ----

export class Problem extends Error {
  constructor(message, status) { super(message); this.status = status; }
}
const unreachable = () => new Problem(t('repix does not answer; is it still running?'), 0);

async function said(answer) {
  if (answer.ok) return answer.json();
  let text = '';
  try { text = (await answer.json()).error; } catch { /* no sentence came */ }
  throw new Problem(text || t('repix answered with an error ({})', answer.status), answer.status);
}
export async function call(path, body, { signal, method = body === undefined ? 'GET' : 'POST' } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method, signal, headers: { ...headers, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw unreachable();
  }
  return said(answer);
}
export async function upload(file, { onProgress, signal, side } = {}) { // gives what the server says of the file
  if (file.size > config.max_bytes) {
    const most = Math.round(config.max_bytes / 2 ** 20);
    throw new Problem(t('{} is {} MB; at most {} MB are taken', file.name, Math.ceil(file.size / 2 ** 20), most), 413);
  }
  const closed = await canOpen(file);
  if (closed) throw new Problem(closed, 0);
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how far an upload is
    request.open('POST', `ui/files?name=${encodeURIComponent(file.name)}${side ? `&side=${side}` : ''}`);
    request.setRequestHeader('X-Repix-Session', session);
    request.setRequestHeader('Content-Type', 'application/octet-stream');
    request.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
    request.onload = () => {
      let told = null;
      try { told = JSON.parse(request.responseText); } catch { /* no sentence came */ }
      if (request.status === 200) resolve(told);
      else reject(new Problem(told?.error || t('repix answered with an error ({})', request.status), request.status));
    };
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new DOMException('aborted', 'AbortError'));
    signal?.addEventListener('abort', () => request.abort());
    request.send(file);
  });
}
export const save = (url, name) => saveLink(url + (url.includes('?') ? '&' : '?') + 'download=true', name);

// ---- jobs: one look at all of them now and then, which also says that this page is still open ----

const watched = new Map();
let looking = 0;

const samples = new Set(); // jobs that nobody would miss
export async function begin(asked, onState, sample = false) { // onState is called with every new state; the last has `ended`
  const { id } = await call('ui/jobs', asked);
  watched.set(id, onState);
  if (sample) samples.add(id);
  look();
  return id;
}
export function forget(ids) { // their results are no longer wanted
  for (const id of ids) watched.delete(id);
  if (ids.length) call('ui/forget', { jobs: ids }).catch(() => {});
}
export async function cancel(ids) {
  const asked = [...watched];
  if (ids.length) tell(asked, await call('ui/cancel', { jobs: ids }));
}
function tell(asked, states) { // asked: what was watched before the question, since an answer knows no later job
  for (const [id, onState] of asked) {
    if (!watched.has(id)) continue;
    const state = states[id];
    if (!state) { watched.delete(id); onState({ state: 'failed', ended: true, error: t('this was deleted in the meantime; choose it again') }); continue; }
    const ended = !['waiting', 'running'].includes(state.state);
    if (ended) watched.delete(id);
    onState({ ...state, ended });
  }
}
async function look() {
  clearTimeout(looking);
  let lost = false;
  const asked = [...watched];
  try { tell(asked, await call('ui/jobs')); } catch { lost = watched.size > 0; }
  document.body.classList.toggle('lost', lost);
  clearTimeout(looking);
  looking = setTimeout(look, watched.size ? 300 : 1000 * (config?.beat_seconds ?? 20));
}
const losses = []; // functions that say whether something would be lost
export const guard = (wouldLose) => losses.push(wouldLose);
addEventListener('beforeunload', (event) => { if ([...watched.keys()].some((id) => !samples.has(id)) || losses.some((one) => one())) event.preventDefault(); });
addEventListener('pagehide', (event) => {
  if (!event.persisted) fetch('ui/close', { method: 'POST', headers, keepalive: true }).catch(() => {});
});

// ---- tabs, choosing and dropping ----

export let config = null;
const takers = {}; // tab -> function of (files, the element they were dropped on)
export const take = (tab, taker) => { takers[tab] = taker; };
const tabs = all('[role=tab]');
const open = () => tabs.find((tab) => tab.getAttribute('aria-selected') === 'true').getAttribute('aria-controls');

const place = (tab) => `#${tab.getAttribute('aria-controls')}`;
const asked = () => tabs.find((tab) => place(tab) === location.hash);

function show(tab) {
  for (const one of tabs) {
    const mine = one === tab;
    one.setAttribute('aria-selected', mine);
    one.tabIndex = mine ? 0 : -1;
    $(place(one)).hidden = !mine;
  }
}
function select(tab, focus = false) {
  show(tab);
  if (focus) tab.focus();
  if (asked() !== tab) history.pushState(null, '', place(tab)); // so that Back goes to the tab before, and leaves no work
}
addEventListener('popstate', () => show(asked() || tabs[0]));
tabs.forEach((tab, index) => {
  tab.addEventListener('click', () => select(tab));
  tab.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const to = step ? (index + step + tabs.length) % tabs.length : { Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    select(tabs[to], true);
  });
});
for (const button of all('[data-choose]')) button.addEventListener('click', () => $(`#${button.dataset.choose}`).click());
onDrops((files, element) => takers[open()]?.(files, element));

export const options = (select, names, value) => {
  select.append(...names.map((name) => make('option', { value: name }, name)));
  if (value !== undefined) select.value = value;
};

export async function start(parts) { // after the modules of the tabs have been loaded
  translatePage();
  keepFocus();
  config = await call('ui/config');
  for (const part of parts) part.build();
  if (asked()) show(asked());
  document.body.dataset.ready = 'true';
  look();
}

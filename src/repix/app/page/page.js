// What every tab shares: the session, requests, jobs, tabs, files that are chosen or dropped, the language.
import { chinese } from './zh.js';

const random = crypto.getRandomValues(new Uint8Array(16));
const session = [...random].map((byte) => byte.toString(16).padStart(2, '0')).join('');
const headers = { 'X-Repix-Session': session };

export const $ = (selector, within = document) => within.querySelector(selector);
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];
export function make(tag, attributes = {}, ...children) {
  const part = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in part && typeof value !== 'string') part[name] = value; else part.setAttribute(name, value);
  }
  part.append(...children);
  return part;
}

// ---- language: English is in the page, Chinese in zh.js under the English words ----

const isChinese = (navigator.languages?.[0] || navigator.language || 'en').toLowerCase().startsWith('zh');
export function t(text, ...values) { // `{}` in the text are the values, in their order
  let put = (isChinese && chinese[text]) || text;
  for (const value of values) put = put.replace('{}', value);
  return put;
}
function translatePage() {
  if (!isChinese) return;
  document.documentElement.lang = 'zh-CN';
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.data.trim();
    if (chinese[text]) node.data = node.data.replace(text, chinese[text]);
  }
  for (const part of all('[aria-label], [title], [alt]')) for (const name of ['aria-label', 'title', 'alt']) {
    const text = part.getAttribute(name);
    if (text && chinese[text]) part.setAttribute(name, chinese[text]);
  }
}

// On a phone a result may lie below what asked for it.
export const bring = (part) => { if (innerWidth <= 900) part.scrollIntoView({ block: 'nearest', behavior: 'smooth' }); };

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
export function upload(file, { onProgress, signal, side } = {}) { // gives what the server says of the file
  if (file.size > config.max_bytes) {
    const most = Math.round(config.max_bytes / 2 ** 20);
    return Promise.reject(new Problem(t('{} is {} MB; at most {} MB are taken', file.name, Math.ceil(file.size / 2 ** 20), most), 413));
  }
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
export function save(url, name) { // a download, as if a link had been clicked
  const link = make('a', { href: url + (url.includes('?') ? '&' : '?') + 'download=true', download: name || '' });
  document.body.append(link);
  link.click();
  link.remove();
}

// ---- jobs: one look at all of them now and then, which also says that this page is still open ----

const watched = new Map();
let looking = 0;

export async function begin(asked, onState) { // onState is called with every new state; the last has `ended`
  const { id } = await call('ui/jobs', asked);
  watched.set(id, onState);
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
addEventListener('pagehide', (event) => {
  if (!event.persisted) fetch('ui/close', { method: 'POST', headers, keepalive: true }).catch(() => {});
});

// ---- before | after ----

export class Divider {
  constructor(element) {
    this.element = element;
    this.frame = make('div', { class: 'frame' });
    this.range = make('input', { type: 'range', min: '0', max: '100', step: '1', value: '50', 'aria-label': t('Where before ends and after begins, in percent') });
    this.range.addEventListener('input', () => this.element.style.setProperty('--cut', `${this.range.value}%`));
    const full = make('button', { type: 'button' }, t('Full screen'));
    full.addEventListener('click', () => (document.fullscreenElement ? document.exitFullscreen() : element.requestFullscreen()));
    this.tools = make('div', { class: 'tools' }, full);
    this.tags = [make('span', { class: 'tag left' }, t('before')), make('span', { class: 'tag right' }, t('after'))];
    element.replaceChildren(this.frame);
    if (element.requestFullscreen) element.append(this.tools);
    this.shown = '';
  }

  show({ before, after, video, name }) { // addresses; `after` may still be missing
    const key = JSON.stringify([before, after, video]);
    if (key === this.shown) return;
    this.shown = key;
    const part = (url, kind, alt) => {
      if (!video) return make('img', { src: url, class: kind, alt });
      const one = make('video', { src: url, class: kind, 'aria-label': alt });
      Object.assign(one, { muted: kind === 'under', loop: true, playsInline: true, preload: 'auto' });
      return one;
    };
    const under = part(before, 'under', t('{}, as it was', name));
    const parts = [under];
    this.over = null;
    if (after) {
      this.over = part(after, 'over', t('{}, without rain', name));
      this.over.style.opacity = this.strength ?? 1;
      parts.push(this.over);
    }
    this.frame.replaceChildren(...parts, this.range, make('span', { class: 'line' }), ...this.tags);
    this.element.classList.toggle('single', !after);
    this.play?.remove();
    if (video) this._play(under, this.over);
  }

  _play(under, over) { // both run together; the buttons are ours, because the divider lies over those of the browser
    const both = [under, over].filter(Boolean), leads = over || under;
    under.addEventListener('error', () => { if (over) { over.style.clipPath = 'none'; under.remove(); over.classList.add('alone'); } });
    this.play = make('button', { type: 'button' }, t('Play'));
    this.play.addEventListener('click', () => { if (leads.paused) both.forEach((one) => one.play().catch(() => {})); else both.forEach((one) => one.pause()); });
    leads.addEventListener('play', () => { this.play.textContent = t('Pause'); });
    leads.addEventListener('pause', () => { this.play.textContent = t('Play'); });
    leads.addEventListener('timeupdate', () => { if (over && Math.abs(under.currentTime - over.currentTime) > 0.1) under.currentTime = over.currentTime; });
    this.tools.prepend(this.play);
  }

  setStrength(strength) {
    this.strength = strength;
    if (this.over) this.over.style.opacity = strength;
  }
}

// ---- tabs, choosing and dropping ----

export let config = null;
const takers = {}; // tab -> function of (files, the element they were dropped on)
export const take = (tab, taker) => { takers[tab] = taker; };
const tabs = all('[role=tab]');
const open = () => tabs.find((tab) => tab.getAttribute('aria-selected') === 'true').getAttribute('aria-controls');

function select(tab, focus = false) {
  for (const one of tabs) {
    const mine = one === tab;
    one.setAttribute('aria-selected', mine);
    one.tabIndex = mine ? 0 : -1;
    $(`#${one.getAttribute('aria-controls')}`).hidden = !mine;
  }
  if (focus) tab.focus();
  history.replaceState(null, '', `#${tab.getAttribute('aria-controls')}`);
}
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
export function onFiles(input, taker) {
  input.addEventListener('change', () => { const files = [...input.files]; input.value = ''; if (files.length) taker(files); });
}

let inside = 0; // elements that a drag has entered and not left
const drags = (event) => event.dataTransfer?.types.includes('Files');
addEventListener('dragenter', (event) => { if (drags(event)) { inside += 1; $('#drop').hidden = false; } });
addEventListener('dragleave', (event) => { if (drags(event)) { inside -= 1; $('#drop').hidden = inside <= 0; } });
addEventListener('dragover', (event) => { if (drags(event)) event.preventDefault(); });
addEventListener('drop', (event) => {
  if (!drags(event)) return;
  event.preventDefault();
  inside = 0;
  $('#drop').hidden = true;
  const files = [...event.dataTransfer.files];
  if (files.length) takers[open()]?.(files, event.target);
});
addEventListener('paste', (event) => {
  const files = [...(event.clipboardData?.files || [])];
  if (files.length) takers[open()]?.(files, document.activeElement);
});

export const options = (select, names, value) => {
  select.append(...names.map((name) => make('option', { value: name }, name)));
  if (value !== undefined) select.value = value;
};

export async function start(parts) { // after the modules of the tabs have been loaded
  translatePage();
  config = await call('ui/config');
  for (const part of parts) part.build();
  const asked = tabs.find((tab) => `#${tab.getAttribute('aria-controls')}` === location.hash);
  if (asked) select(asked);
  document.body.dataset.ready = 'true';
  look();
}

// What the web UI and the page without a server (web/) share: making elements, the language, files that come and go,
// what is said of them, before | after.
import { chinese } from './zh.js';

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

const words = { ...chinese };
const isChinese = (navigator.languages?.[0] || navigator.language || 'en').toLowerCase().startsWith('zh');
export function t(text, ...values) { // `{}` in the text are the values, in their order
  let count = 0; // at one go, and by a function: names of files may hold `{}` and `$&` themselves
  return ((isChinese && words[text]) || text).replaceAll('{}', () => values[count++] ?? '{}');
}
export function translatePage(more = {}) { // more: words that only this page has
  Object.assign(words, more);
  if (!isChinese) return;
  document.documentElement.lang = 'zh-CN';
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.data.trim();
    if (words[text]) node.data = node.data.replace(text, words[text]);
  }
  for (const part of all('[aria-label], [title], [alt]')) for (const name of ['aria-label', 'title', 'alt']) {
    const text = part.getAttribute(name);
    if (text && words[text]) part.setAttribute(name, words[text]);
  }
}

// On a phone a result may lie below what asked for it.
export const bring = (part) => {
  const behavior = matchMedia('(prefers-reduced-motion: reduce)').matches ? 'instant' : 'smooth';
  if (innerWidth <= 900) part.scrollIntoView({ block: 'nearest', behavior });
};

// A status is read aloud when it changes; how far something is changes several times a second, and is only shown.
export function say(status, text, counting = false) {
  status.setAttribute('aria-live', counting ? 'off' : 'polite');
  if (status.textContent !== text) status.textContent = text;
}

// ---- the focus stays where it was: what is disabled or hidden under it would drop it to the top of the page ----

export function keepFocus() { // a part around it holds the focus meanwhile, because another button could be pressed by mistake
  let wanted = null, around = [], holds = null;
  const isShown = (part) => part.isConnected && part.getClientRects().length > 0;
  const canHave = (part) => isShown(part) && !part.disabled;
  addEventListener('focusin', ({ target }) => {
    if (target === holds) return;
    [wanted, around] = [target, []];
    for (let part = target.parentElement; part; part = part.parentElement) around.push(part);
  });
  addEventListener('focusout', ({ target, relatedTarget }) => { // to nothing: by a click beside everything, or since the window is left
    if (!relatedTarget && document.hasFocus() && canHave(target)) wanted = null;
  });
  new MutationObserver(() => {
    const has = document.activeElement;
    if (!wanted || ![wanted, holds, document.body].includes(has)) return;
    if (canHave(wanted)) { if (has !== wanted) wanted.focus({ preventScroll: true }); return; }
    if (has === holds && isShown(holds)) return;
    holds = around.find(isShown);
    if (!holds.hasAttribute('tabindex')) holds.tabIndex = -1;
    holds.focus({ preventScroll: true });
  }).observe(document.body, { subtree: true, childList: true, attributeFilter: ['hidden', 'disabled'] });
}

// ---- files that come: chosen, dropped anywhere, pasted; and results that go ----

export function onFiles(input, taker) {
  input.addEventListener('change', () => { const files = [...input.files]; input.value = ''; if (files.length) taker(files); });
}
export function onDrops(taker) { // taker: function of (files, the element they were dropped on)
  let inside = 0; // elements that a drag has entered and not left
  const drags = (event) => event.dataTransfer?.types.includes('Files');
  const count = (number) => { inside = number; $('#drop').hidden = inside <= 0; };
  addEventListener('dragenter', (event) => { if (drags(event)) count(inside + 1); });
  addEventListener('dragleave', (event) => { if (drags(event)) count(inside - 1); });
  addEventListener('dragover', (event) => { if (drags(event)) event.preventDefault(); });
  addEventListener('drop', (event) => {
    if (!drags(event)) return;
    event.preventDefault();
    count(0);
    const files = [...event.dataTransfer.files];
    if (files.length) taker(files, event.target);
  });
  addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (files.length) taker(files, document.activeElement);
  });
}
export function save(url, name) { // a download, as if a link had been clicked
  const link = make('a', { href: url, download: name || '' });
  document.body.append(link);
  link.click();
  link.remove();
}

// ---- what is said of files: items have a file, a state, a fraction of their work ----

export function label(items, item) { // files of one name are told apart
  const before = items.slice(0, items.indexOf(item)).filter((other) => other.file.name === item.file.name).length;
  return before ? `${item.file.name} (${before + 1})` : item.file.name;
}
export function trouble(items, item, sentence) { // most name the file already
  return sentence.startsWith(item.file.name) ? sentence : `${label(items, item)}: ${sentence}`;
}
export function downloadWords(item) { return item.state === 'done' ? t('Download') : item.state === 'failed' ? t('No result') : t('Not ready yet'); }
export async function canOpen(file) { // a folder looks like a file until it is read
  try { await file.slice(0, 1).arrayBuffer(); } catch { return t('{} cannot be opened: it is a folder, or was moved or changed after it was chosen.', file.name); }
  return '';
}
export function time(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  return whole < 90 ? t('{} s', whole) : t('{} min', Math.round(whole / 60));
}
export function doing(level) { // of the pyramid; 0 while levels are tried
  return level === 0 ? t('looking for rain') : level === 1 ? t('at full size') : t('at 1/{} of the size', level);
}
export function progress({ level, tile, tiles, frame, frames, rate }) { // of an image or of a video, as parts of a sentence
  if (frame) return [frames ? t('frame {} of {}', frame, frames) : t('frame {}', frame), t('{} frames/s', rate.toFixed(1))];
  if (level === undefined) return [];
  return [tiles > 1 ? t('{}, tile {} of {}', doing(level), tile, tiles) : doing(level)];
}
export function ended(items) { // what became of all of them, as parts of a sentence
  const many = (state) => items.filter((item) => item.state === state).length, done = many('done'), failed = many('failed');
  const parts = [];
  if (many('cancelled')) parts.push(done ? t('Cancelled. {} of {} are done and stay.', done, items.length) : t('Cancelled.'));
  else if (items.length > 1) parts.push(t('{} of {} done', done, items.length));
  else if (done) parts.push(t('Done in {}', t('{} s', items[0].seconds.toFixed(1))));
  if (failed) parts.push(items.length === 1 ? t('This file cannot be derained.') : t('{} could not be derained', failed));
  return parts;
}
export function drawThumbs(list, items, current, { choose, image, sign }) { // image: address or ''; sign: where there is none
  const keep = new Map(all('button', list).map((button) => [+button.dataset.key, button.parentElement]));
  const lines = items.map((item) => {
    const line = keep.get(item.key) || make('li', {}, make('button', { type: 'button', 'data-key': String(item.key) }));
    const button = line.firstChild, url = image(item), name = label(items, item);
    const mark = { done: '✓', failed: '!', cancelled: '–', running: `${Math.floor(100 * (item.fraction || 0))} %` }[item.state] || '…';
    const words = { done: t('done'), failed: t('failed'), cancelled: t('cancelled'), running: t('running') }[item.state] || t('waiting');
    const now = `${name}|${url}|${sign(item)}`;
    if (button.dataset.now !== now) {
      button.dataset.now = now;
      const without = () => make('span', { class: 'no-image', 'aria-hidden': 'true' }, sign(item));
      const shown = url ? make('img', { src: url, alt: '', loading: 'lazy' }) : without();
      shown.onerror = () => shown.replaceWith(without());
      button.replaceChildren(shown, make('span', { class: 'name' }, name), make('span', { class: 'mark', 'aria-hidden': 'true' }));
      button.onclick = () => choose(item);
    }
    $('.mark', button).textContent = mark;
    button.setAttribute('aria-label', `${name}, ${words}`);
    button.setAttribute('aria-current', item === current);
    return line;
  });
  if (lines.length !== list.children.length || lines.some((line, index) => line !== list.children[index])) list.replaceChildren(...lines);
}

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

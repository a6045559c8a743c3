// What the web UI and the page without a server (web/) share: making elements, the language, before | after.
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
  let put = (isChinese && words[text]) || text;
  for (const value of values) put = put.replace('{}', value);
  return put;
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
export const bring = (part) => { if (innerWidth <= 900) part.scrollIntoView({ block: 'nearest', behavior: 'smooth' }); };

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

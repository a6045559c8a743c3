// The two canvases of the Blend tab. All coordinates are pixels of the full images; the server does the same geometry
// (repix/app/blend.py).
import { $, t, call, upload, save, say, config, take, guard, onFiles, options } from './page.js';

const element = $('#blend');
const find = (selector) => element.querySelector(selector);
const all = (selector) => [...element.querySelectorAll(selector)];
const source = { canvas: find('.rx-source'), photo: null, turn: 0, aborter: null };
const target = { canvas: find('.rx-target'), photo: null, turn: 0, aborter: null };
const HEIGHT = 520; // of a canvas at most, CSS pixels
let tool = 'polygon', polygon = [], closed = false, strokes = [], history = [];
let placement = { x: 0, y: 0, scale: 1, rotate: 0 }, mode = 'import';
let kept = ''; // the state that would not be missed: an example's, or one that is on disk
let result = null, serial = 0, timer = 0, busy = false; // busy: the pointer is down on the target

const said = (text, counting) => say(find('.rx-said'), text, counting);
const selected = () => (closed && polygon.length >= 3) || strokes.some((s) => !s.erase);

function box() { // of the selection, clipped to the source: [x0, y0, x1, y1]
  const xs = [], ys = [];
  if (closed) for (const [x, y] of polygon) { xs.push(x); ys.push(y); }
  for (const s of strokes) if (!s.erase) for (const [x, y] of s.points) {
    xs.push(x - s.radius, x + s.radius); ys.push(y - s.radius, y + s.radius);
  }
  if (!xs.length) return null;
  const most = (n, size) => Math.min(Math.max(n, 0), size - 1);
  const { width, height } = source.photo;
  return [most(Math.min(...xs), width), most(Math.min(...ys), height), most(Math.max(...xs), width), most(Math.max(...ys), height)];
}

// ---- drawing ----

function fit(pane) { // gives the context in which one unit is one pixel of the image, or null while hidden
  const { canvas, photo } = pane;
  if (!photo) return null;
  canvas.style.width = 'min(100%, ' + (HEIGHT * photo.width / photo.height) + 'px)';
  canvas.style.aspectRatio = photo.width + ' / ' + photo.height;
  const width = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
  if (!width) return null;
  const height = Math.round(width * photo.height / photo.width);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const context = canvas.getContext('2d');
  const k = width / photo.width;
  // the centre of a pixel has whole coordinates
  context.setTransform(k, 0, 0, k, k / 2, k / 2);
  pane.k = k;
  return context;
}

function paintPhoto(context, image, photo) {
  context.drawImage(image, -0.5, -0.5, photo.width, photo.height);
}

function path(context, points, close) {
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (close) context.closePath();
}

function paintSelection(context, grow = 0) { // filled, in the current fill style; grow in pixels of the source
  if (closed && polygon.length >= 3) {
    path(context, polygon, true);
    context.fill('evenodd');
    if (grow) { context.lineWidth = 2 * grow; context.lineJoin = 'round'; context.stroke(); }
  }
  context.lineCap = context.lineJoin = 'round';
  for (const s of strokes) {
    context.globalCompositeOperation = s.erase ? 'destination-out' : 'source-over';
    context.lineWidth = Math.max(0.1, 2 * (s.radius + (s.erase ? -grow : grow)));
    path(context, s.points.length > 1 ? s.points : [s.points[0], s.points[0]], false);
    context.stroke();
  }
  context.globalCompositeOperation = 'source-over';
}

function layer(width, height) {
  const canvas = document.createElement('canvas');
  canvas.width = width; canvas.height = height;
  return canvas;
}

function outline(pane, context, scale) { // a ring around the selection under the context's transform
  const ring = layer(pane.canvas.width, pane.canvas.height), draw = ring.getContext('2d');
  const thick = 1.5 * (window.devicePixelRatio || 1) / (pane.k * scale);
  for (const [colour, grow] of [['#000', 2 * thick], ['#fff', thick]]) {
    const one = layer(ring.width, ring.height), pen = one.getContext('2d');
    pen.setTransform(context.getTransform());
    pen.fillStyle = pen.strokeStyle = colour;
    paintSelection(pen, grow);
    draw.drawImage(one, 0, 0);
  }
  const hole = layer(ring.width, ring.height), pen = hole.getContext('2d');
  pen.setTransform(context.getTransform());
  paintSelection(pen);
  draw.globalCompositeOperation = 'destination-out';
  draw.drawImage(hole, 0, 0);
  context.save(); context.resetTransform(); context.drawImage(ring, 0, 0); context.restore();
}

function drawSource() {
  const context = fit(source);
  if (!context) return;
  const { photo, k } = source;
  context.clearRect(-1, -1, photo.width + 1, photo.height + 1);
  paintPhoto(context, photo.image, photo);
  if (selected()) outline(source, context, 1);
  if (!closed && polygon.length) {
    const dpr = window.devicePixelRatio || 1;
    for (const [colour, width] of [['#000', 4], ['#fff', 2]]) {
      context.strokeStyle = colour; context.lineWidth = width * dpr / k;
      path(context, polygon, false); context.stroke();
    }
    polygon.forEach(([x, y], i) => {
      context.beginPath(); context.arc(x, y, (i ? 4 : 6) * dpr / k, 0, 7);
      context.fillStyle = i ? '#fff' : '#f59e0b'; context.fill();
      context.strokeStyle = '#000'; context.lineWidth = dpr / k; context.stroke();
    });
  }
}

function drawTarget() {
  const context = fit(target);
  if (!context) return;
  const { photo } = target;
  context.clearRect(-1, -1, photo.width + 1, photo.height + 1);
  const stale = result === null;
  paintPhoto(context, stale ? photo.image : result, photo);
  if (!source.photo || !selected()) return;
  const [x0, y0, x1, y1] = box(), angle = -placement.rotate * Math.PI / 180;
  const put = (c) => {
    c.setTransform(context.getTransform());
    c.translate(placement.x, placement.y); c.rotate(angle); c.scale(placement.scale, placement.scale);
    c.translate(-(x0 + x1) / 2, -(y0 + y1) / 2);
  };
  if (stale) { // the cut-out itself, until the server answers
    const ghost = layer(target.canvas.width, target.canvas.height), pen = ghost.getContext('2d');
    put(pen);
    paintSelection(pen);
    pen.globalCompositeOperation = 'source-in';
    paintPhoto(pen, source.photo.image, source.photo);
    context.save(); context.resetTransform(); context.globalAlpha = 0.75; context.drawImage(ghost, 0, 0); context.restore();
  }
  if (stale || busy || target.canvas.matches(':hover') || document.activeElement === target.canvas) {
    context.save();
    const pen = layer(1, 1).getContext('2d');
    put(pen);
    context.setTransform(pen.getTransform());
    outline(target, context, placement.scale);
    context.restore();
  }
}

function showFields() {
  if (target.photo) for (const [field, size] of [['x', target.photo.width], ['y', target.photo.height]])
    for (const input of all('[data-field=' + field + ']')) { input.min = 0; input.max = size - 1; }
  for (const input of all('[data-field]')) {
    if (input !== document.activeElement || input.type === 'range') input.value = +placement[input.dataset.field].toFixed(2);
  }
  const text = find('.rx-points');
  if (text !== document.activeElement) text.value = polygon.map(([x, y]) => Math.round(x) + ',' + Math.round(y)).join(' ');
  find('.rx-size').classList.toggle('rx-off', tool === 'polygon');
  for (const button of all('[data-do]')) button.disabled = button.dataset.do === 'close' ? closed || polygon.length < 3 : !history.length;
  for (const input of all('[name=rx-mode]')) input.checked = input.value === mode;
  for (const input of all('[name=rx-tool]')) input.checked = input.value === tool;
}

const draw = () => { drawSource(); drawTarget(); showFields(); };

// ---- asking the server ----

function hint() {
  if (!polygon.length) return t('Click around a part of the source, or paint over it.');
  if (polygon.length < 3) return t('{} of at least 3 corners; click the next one.', polygon.length);
  return t('{} corners: click the next one; the first one again, or Close, ends the polygon.', polygon.length);
}

let aborter = null; // of the question that is on its way
function changed() { // whatever is on the screen is out of date; ask when the hand rests
  result = null;
  serial += 1; // an answer that is on its way is about something else
  aborter?.abort();
  clearTimeout(timer);
  draw();
  $('#blend-download').disabled = !source.photo || !target.photo || !selected();
  const reading = [source, target].filter((pane) => pane.aborter).length;
  if (reading) return; // it is said what is read
  if (!source.photo || !target.photo) said(t(source.photo ? 'Now choose a target image.' : target.photo ? 'Now choose a source image.' : 'Choose a source image and a target image, or try an example.'));
  else if (!selected()) said(hint());
  else if (!busy) { said('…', true); timer = setTimeout(ask, 80); } // what is said belongs to an older result
}

function asked() { // what is on the screen
  const images = { source: source.photo?.id, target: target.photo?.id };
  return { ...images, ...placement, mode, polygon: closed ? polygon : [], strokes };
}

const state = () => JSON.stringify([source.photo?.id, target.photo?.id, placement, mode, polygon, closed, strokes]);

async function ask() {
  const mine = serial;
  aborter = new AbortController();
  try {
    const answer = await call('ui/blend', asked(), { signal: aborter.signal });
    if (mine !== serial) return;
    const image = new Image();
    image.src = answer.url;
    await image.decode();
    if (mine !== serial || busy) return;
    result = image;
    draw();
    said(answer.said);
  } catch (error) {
    if (mine === serial && error.name !== 'AbortError') said(error.message);
  }
}

// Images that the server has read, each in its own time: the last one chosen for a canvas stays, whichever comes last.
async function show(value, turns) { // turns: of the canvases when it was asked for
  const panes = Object.entries({ source, target }).filter(([name]) => value[name]);
  const arrived = await Promise.all(panes.map(async ([name, pane]) => {
    const image = new Image();
    image.src = value[name].url;
    await image.decode();
    return { name, pane, image };
  }));
  const fresh = {};
  for (const { name, pane, image } of arrived) {
    if (turns[name] === pane.turn) { pane.photo = { ...value[name], image }; fresh[name] = true; }
  }
  if (fresh.source) {
    polygon = value.polygon || []; closed = polygon.length > 0; strokes = [];
    history = closed ? ['example'] : [];
    mode = value.mode || mode;
  }
  if (fresh.target) {
    const { width, height } = target.photo, [x, y] = value.centre || [Math.round(width / 2), Math.round(height / 2)];
    placement = value.centre ? { x, y, scale: 1, rotate: 0 } : { ...placement, x, y };
  }
  if (value.polygon) kept = state();
  if (fresh.source || fresh.target) changed();
}
async function choose(pane, name, file) {
  pane.aborter?.abort(); // of an image that is still on its way
  const mine = pane.aborter = new AbortController();
  const turns = { [name]: pane.turn += 1 };
  pane.canvas.classList.add('busy');
  const onProgress = (part) => said(part < 1 ? t('{} is read: {} %', file.name, Math.floor(100 * part)) : t('{} is read', file.name), part > 0 && part < 1);
  try {
    onProgress(0);
    const up = await upload(file, { signal: mine.signal, side: 1600, onProgress });
    if (pane.aborter !== mine) return;
    if (up.kind === 'video') throw new Error(t('This is a video; Blend takes images.'));
    pane.aborter = null;
    await show({ [name]: up }, turns);
  } catch (error) {
    if (error.name === 'AbortError') return;
    if (pane.aborter === mine) pane.aborter = null;
    changed();
    said(error.message);
  } finally {
    if (!pane.aborter) pane.canvas.classList.remove('busy');
  }
}
function drop(files, where) { // on a canvas; elsewhere, the first empty one, and two at once are source and target
  const onto = where?.closest?.('.rx-source') ? [source, 'source'] : where?.closest?.('.rx-target') ? [target, 'target'] : null;
  if (onto) { choose(...onto, files[0]); return; }
  const empty = [[source, 'source'], [target, 'target']].filter(([pane]) => !pane.photo && !pane.aborter);
  const free = files.length > 1 || !empty.length ? [[source, 'source'], [target, 'target']] : empty;
  files.slice(0, free.length).forEach((file, index) => choose(...free[index], file));
}

// ---- selecting ----

function pointAt(pane, event) {
  const frame = pane.canvas.getBoundingClientRect(), { width, height } = pane.photo;
  return [(event.clientX - frame.left) / frame.width * width - 0.5, (event.clientY - frame.top) / frame.height * height - 0.5];
}
const inSource = ([x, y]) => [
  +Math.min(Math.max(x, 0), source.photo.width - 1).toFixed(1), +Math.min(Math.max(y, 0), source.photo.height - 1).toFixed(1)];

const acts = {
  undo() {
    const last = history.pop();
    if (last === 'example') { polygon = []; closed = false; } else if (last === 'point') polygon.pop();
    else if (last === 'close') closed = false;
    else if (last === 'stroke') strokes.pop();
  },
  close() { if (!closed && polygon.length >= 3) { closed = true; history.push('close'); } },
  clear() { polygon = []; closed = false; strokes = []; history = []; },
};
for (const button of all('[data-do]')) button.addEventListener('click', () => { acts[button.dataset.do](); changed(); });
for (const input of all('[name=rx-tool]')) input.addEventListener('change', () => { tool = input.value; showFields(); });
for (const input of all('[name=rx-mode]')) input.addEventListener('change', () => { mode = input.value; changed(); });

let stroke = null;
source.canvas.addEventListener('pointerdown', (event) => {
  if (!source.photo || event.button !== 0) return;
  event.preventDefault();
  source.canvas.focus({ preventScroll: true });
  const point = inSource(pointAt(source, event));
  if (tool === 'polygon') {
    const near = 10 / source.canvas.getBoundingClientRect().width * source.photo.width;
    if (closed) { polygon = []; closed = false; history = history.filter((act) => act === 'stroke'); }
    if (polygon.length >= 3 && Math.hypot(point[0] - polygon[0][0], point[1] - polygon[0][1]) < near) acts.close();
    else { polygon.push(point); history.push('point'); }
    changed();
  } else {
    const radius = +find('.rx-radius').value / 400 * Math.max(source.photo.width, source.photo.height);
    stroke = { radius: +radius.toFixed(1), erase: tool === 'eraser', points: [point] };
    strokes.push(stroke); history.push('stroke');
    source.canvas.setPointerCapture(event.pointerId);
    draw();
  }
});
source.canvas.addEventListener('pointermove', (event) => {
  if (!stroke) return;
  stroke.points.push(inSource(pointAt(source, event)));
  drawSource();
});
for (const name of ['pointerup', 'pointercancel']) source.canvas.addEventListener(name, () => { if (stroke) { stroke = null; changed(); } });
source.canvas.addEventListener('keydown', (event) => {
  const act = { Backspace: 'undo', Delete: 'undo', Enter: 'close', Escape: 'clear' }[event.key] || (event.ctrlKey && event.key === 'z' && 'undo');
  if (!act) return;
  event.preventDefault(); acts[act](); changed();
});
find('.rx-points').addEventListener('change', (event) => {
  const numbers = event.target.value.split(/[\s;]+/).filter(Boolean).map((pair) => pair.split(',').map(Number));
  if (numbers.some((pair) => pair.length !== 2 || !pair.every(Number.isFinite)) || (numbers.length && numbers.length < 3)) {
    said(t('A polygon is at least three corners: x,y x,y x,y')); return;
  }
  polygon = numbers; closed = numbers.length >= 3; history = history.filter((act) => act === 'stroke').concat(closed ? ['example'] : []);
  changed();
});

// ---- placing ----

// A finger scrolls the page, but for what it paints and for the selection that it takes hold of.
function isHeld([x, y]) { // whether a point of the target is on the selection, or near it
  if (!target.photo || !source.photo || !selected()) return false;
  const [x0, y0, x1, y1] = box(), angle = placement.rotate * Math.PI / 180, near = 24 / target.k * (window.devicePixelRatio || 1);
  const dx = x - placement.x, dy = y - placement.y;
  const along = Math.cos(angle) * dx - Math.sin(angle) * dy, across = Math.sin(angle) * dx + Math.cos(angle) * dy;
  return Math.abs(along) <= placement.scale * (x1 - x0) / 2 + near && Math.abs(across) <= placement.scale * (y1 - y0) / 2 + near;
}
source.canvas.addEventListener('touchstart', (event) => { if (tool !== 'polygon') event.preventDefault(); }, { passive: false });
target.canvas.addEventListener('touchstart', (event) => {
  if (target.photo && isHeld(pointAt(target, event.touches[0]))) event.preventDefault();
}, { passive: false });

let held = null;
target.canvas.addEventListener('pointerdown', (event) => {
  if (!target.photo || !source.photo || !selected() || event.button !== 0) return;
  if (event.pointerType === 'touch' && !isHeld(pointAt(target, event))) return;
  event.preventDefault();
  target.canvas.focus({ preventScroll: true });
  const [x, y] = pointAt(target, event);
  held = [x - placement.x, y - placement.y]; busy = true;
  target.canvas.setPointerCapture(event.pointerId);
});
target.canvas.addEventListener('pointermove', (event) => {
  if (!held) return;
  const [x, y] = pointAt(target, event);
  placement.x = Math.round(x - held[0]); placement.y = Math.round(y - held[1]);
  changed();
});
for (const name of ['pointerup', 'pointercancel']) target.canvas.addEventListener(name, () => { if (held) { held = null; busy = false; changed(); } });
for (const name of ['pointerenter', 'pointerleave', 'focus', 'blur']) target.canvas.addEventListener(name, drawTarget);
target.canvas.addEventListener('keydown', (event) => {
  const step = event.shiftKey ? 10 : 1;
  const move = {
    ArrowLeft: ['x', -step], ArrowRight: ['x', step], ArrowUp: ['y', -step], ArrowDown: ['y', step],
    '+': ['scale', 0.02 * step], '=': ['scale', 0.02 * step], '-': ['scale', -0.02 * step], '[': ['rotate', step], ']': ['rotate', -step],
  }[event.key];
  if (!move) return;
  event.preventDefault();
  set(move[0], placement[move[0]] + move[1]);
});
function set(field, value) {
  if (!Number.isFinite(value)) return;
  if (field === 'scale') value = Math.min(Math.max(value, 0.05), 20);
  placement[field] = value;
  changed();
}
for (const input of all('[data-field]')) input.addEventListener('input', () => { if (input.value !== '') set(input.dataset.field, +input.value); });

export function build() {
  new ResizeObserver(draw).observe(find('.rx-images'));
  options($('#blend-example'), config.examples);
  for (const [pane, name] of [[source, 'source'], [target, 'target']]) {
    $(`#blend-${name}`).accept = config.images.join(',');
    onFiles($(`#blend-${name}`), ([file]) => choose(pane, name, file));
  }
  take('blend', drop);
  let turn = 0;
  $('#blend-example').addEventListener('change', async ({ target: list }) => {
    const mine = turn += 1, name = list.value;
    if (!name) return;
    for (const pane of [source, target]) { pane.turn += 1; pane.aborter?.abort(); pane.aborter = null; pane.canvas.classList.remove('busy'); }
    const turns = { source: source.turn, target: target.turn };
    said(t('{} is drawn', name));
    try {
      const shown = await call(`ui/example/${encodeURIComponent(name)}`, {});
      if (mine === turn) await show(shown, turns);
    } catch (error) { said(error.message); }
  });
  $('#blend-download').addEventListener('click', async () => {
    const before = find('.rx-said').textContent, shown = state();
    try {
      const made = await call('ui/blend', { ...asked(), download: true });
      if (made.notes?.length) said([before, ...made.notes].join(' · '));
      save(made.url, made.name);
      kept = shown;
    } catch (error) { said(error.message); }
  });
  guard(() => (polygon.length > 0 || strokes.length > 0) && state() !== kept);
  changed();
}

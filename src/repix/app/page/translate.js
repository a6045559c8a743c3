// The Translate tab: label maps that are painted, and images that are uploaded. Shapes are kept as they were drawn, in
// pixels of the map; the server draws them again without smoothed edges (repix/app/translate.py).
import { $, all as everything, make, t, upload, save, begin, forget, cancel, Divider, config, take, guard, onFiles, options, bring } from './page.js';

const element = $('#paint');
const find = (selector) => element.querySelector(selector);
const all = (selector) => everything(selector, element);
const canvas = find('.rx-source');
let palette, size, colours, shapes;
let tool = 'rect', label = 'window', current = null, timer = 0;

function draw() {
  canvas.style.aspectRatio = '1';
  const width = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
  if (!width) return;
  if (canvas.width !== width) canvas.width = canvas.height = width;
  const pen = canvas.getContext('2d'), k = width / size;
  pen.setTransform(k, 0, 0, k, 0, 0);
  pen.fillStyle = palette[0][1];
  pen.fillRect(0, 0, size, size);
  pen.lineCap = pen.lineJoin = 'round';
  for (const shape of current ? [...shapes, current] : shapes) {
    const [first, last] = [shape.points[0], shape.points[shape.points.length - 1]];
    pen.fillStyle = pen.strokeStyle = colours[shape.label];
    if (shape.kind === 'rect') {
      const [left, right] = [first[0], last[0]].sort((a, b) => a - b), [top, bottom] = [first[1], last[1]].sort((a, b) => a - b);
      pen.fillRect(left, top, right - left + 1, bottom - top + 1);
    } else {
      pen.lineWidth = shape.width;
      pen.beginPath();
      for (const [x, y] of shape.points.length > 1 ? shape.points : [first, first]) pen.lineTo(x + 0.5, y + 0.5);
      pen.stroke();
    }
  }
  $('#paint-download').disabled = $('#paint-labels').disabled = !painted;
  for (const button of all('[data-do]')) button.disabled = !shapes.length;
  find('.rx-size').classList.toggle('rx-off', tool !== 'line');
}

const write = (shape) => [shape.label, ...(shape.kind === 'line' ? ['brush', shape.width] : []), ...shape.points.map((p) => p.join(','))].join(' ');
function read(text) { // throws a sentence
  return text.split('\n').map((line) => line.trim()).filter(Boolean).map((line) => {
    const [name, ...rest] = line.split(/\s+/);
    if (!(name in colours)) throw t('“{}” is none of {}', name, Object.keys(colours).join(', '));
    const brush = rest[0] === 'brush' ? rest.splice(0, 2) : null;
    const points = rest.map((pair) => pair.split(',').map(Number));
    const good = points.every((p) => p.length === 2 && p.every(Number.isFinite)) && (brush ? points.length && +brush[1] > 0 : points.length === 2);
    if (!good) throw t('“{}” is not of the form: {} 40,60 80,110', line, name);
    return brush ? { kind: 'line', label: name, width: +brush[1], points } : { kind: 'rect', label: name, points };
  });
}

const painting = () => shapes.map(write).join('\n');
let job = null, turn = 0, painted = null, kept = ''; // kept: the painting that would not be missed, since it is on disk or ours
function changed(fromText) { // what is shown belongs to an older painting
  if (!fromText) find('.rx-shapes').value = painting();
  find('.rx-said').textContent = '';
  painted = null;
  turn += 1; // so that a result of it that arrives before the next is asked for is not taken for this one's
  draw();
  clearTimeout(timer);
  timer = setTimeout(paint, 150);
}
async function paint() {
  const mine = turn;
  if (job) forget([job]);
  job = null;
  try {
    const id = await begin({ kind: 'paint', model: $('#paint-model').value, shapes }, (state) => {
      if (mine !== turn || !state.ended) return;
      if (state.state === 'failed') { find('.rx-said').textContent = state.error; return; }
      painted = state.result;
      $('#paint-result').src = painted.url;
      $('#paint-result').hidden = false;
      draw();
    });
    if (mine === turn) job = id; else forget([id]);
  } catch (error) { find('.rx-said').textContent = error.message; }
}

function at(event) {
  const frame = canvas.getBoundingClientRect();
  const along = (value, from, length) => Math.min(Math.max(Math.floor((value - from) / length * size), 0), size - 1);
  return [along(event.clientX, frame.left, frame.width), along(event.clientY, frame.top, frame.height)];
}
canvas.addEventListener('pointerdown', (event) => {
  if (event.button !== 0) return;
  event.preventDefault();
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  current = { kind: tool, label, ...(tool === 'line' ? { width: +find('.rx-radius').value } : {}), points: [at(event)] };
  draw();
});
canvas.addEventListener('pointermove', (event) => {
  if (!current) return;
  if (current.kind === 'rect') current.points[1] = at(event);
  else current.points.push(at(event));
  draw();
});
canvas.addEventListener('pointerup', () => {
  if (!current) return;
  if (current.kind === 'line' || current.points.length === 2) shapes.push(current);
  current = null;
  changed();
});
canvas.addEventListener('pointercancel', () => { current = null; draw(); });
const acts = { undo() { shapes.pop(); }, clear() { shapes = []; } };
for (const button of all('[data-do]')) button.addEventListener('click', () => { acts[button.dataset.do](); changed(); });
canvas.addEventListener('keydown', (event) => {
  if (event.key === 'Backspace' || (event.ctrlKey && event.key === 'z')) { event.preventDefault(); acts.undo(); changed(); }
});
for (const input of all('[name=rp-tool]')) input.addEventListener('change', () => { tool = input.value; draw(); });
find('.rx-shapes').addEventListener('input', (event) => {
  try { shapes = read(event.target.value); } catch (sentence) { find('.rx-said').textContent = sentence; return; }
  changed(true);
});


// ---- uploaded ----

let file = null, chosen = 0, asking = null, asked = 0, made = null, divider = null;
const model = () => config.models.translate.find((one) => one.name === $('#translate-model').value);
const say = (text) => { $('#translate-said').textContent = text; };
function show() {
  $('#translate-about').textContent = model().about;
  $('#translate-go').disabled = !file || asking !== null;
  $('#translate-cancel').hidden = asking === null;
  $('#translate-download').disabled = !made;
  $('#translate-stage').hidden = !file;
  if (file) divider.show({ before: file.url, after: made?.url, name: file.name });
}
function renew() { // a result belongs to an image and a model
  if (asking) forget([asking]);
  asking = made = null;
  asked += 1;
  say('');
  if (file && model().labels && !file.labels) say(t('This does not look like a label map; the model has learnt from label maps alone.'));
  if (file && !model().labels && file.labels) say(t('This looks like a label map; the model has learnt from photos.'));
  show();
}
async function choose(files) {
  const mine = chosen += 1;
  file = null;
  renew();
  say(t('reading {}', files[0].name));
  try {
    const up = await upload(files[0]);
    if (mine !== chosen) return;
    if (up.kind === 'video') throw new Error(t('This is a video; Translate takes an image.'));
    file = up;
  } catch (error) { if (mine === chosen) say(error.message); return; }
  renew();
}
async function go() {
  renew();
  const mine = asked;
  asking = 'asked';
  show();
  try {
    const id = await begin({ kind: 'translate', file: file.id, model: model().name }, (state) => {
      if (mine !== asked) return;
      if (state.state === 'waiting' && state.place) say(t('waits for its turn; {} before it', state.place));
      if (!state.ended) return;
      asking = null;
      made = state.state === 'done' ? state.result : null;
      say({ done: [t('Done.'), ...(made?.notes ?? [])].join(' '), failed: state.error, cancelled: t('Cancelled.') }[state.state]);
      show();
      if (made) bring($('#translate-stage'));
    });
    if (mine !== asked) forget([id]); else if (asking) asking = id;
  } catch (error) { asking = null; say(error.message); }
  show();
}

export function build() {
  const names = config.models.translate.map((one) => one.name), painters = config.models.translate.filter((one) => one.labels).map((one) => one.name);
  $('#translate-none').hidden = names.length > 0;
  element.hidden = !painters.length;
  $('#translate-upload').hidden = !names.length;
  if (painters.length) {
    ({ palette, size, start: shapes } = config.paint);
    colours = Object.fromEntries(palette);
    buildPalette();
    options($('#paint-model'), painters, painters.includes('facades-photo') ? 'facades-photo' : painters[0]);
    $('#paint-model').addEventListener('change', () => changed());
    kept = painting();
    guard(() => painting() !== kept);
    $('#paint-download').addEventListener('click', () => { save(painted.file, 'facade.png'); kept = painting(); });
    $('#paint-labels').addEventListener('click', () => { save(painted.labels, 'labels.png'); kept = painting(); });
    let opened = false; // the first translation waits until the tab is looked at
    new ResizeObserver(() => {
      draw();
      if (!opened && canvas.clientWidth) { opened = true; changed(); }
    }).observe(canvas);
  }
  if (!names.length) return;
  divider = new Divider($('#translate-stage'));
  options($('#translate-model'), names, names.includes('facades-labels') ? 'facades-labels' : names[0]);
  $('#translate-file').accept = config.images.join(',');
  $('#translate-model').addEventListener('change', renew);
  onFiles($('#translate-file'), choose);
  take('translate', choose);
  $('#translate-go').addEventListener('click', go);
  $('#translate-cancel').addEventListener('click', () => { if (asking && asking !== 'asked') cancel([asking]).catch((error) => say(error.message)); });
  guard(() => made !== null && !made.saved);
  $('#translate-download').addEventListener('click', () => { save(made.file, made.name); made.saved = true; });
  renew();
}

function buildPalette() {
  palette.forEach(([name, colour]) => {
    const choice = document.createElement('label'), input = document.createElement('input');
    const text = document.createElement('span'), swatch = document.createElement('i');
    Object.assign(input, { type: 'radio', name: 'rp-label', value: name, checked: name === label });
    swatch.style.background = colour;
    text.append(swatch, name);
    choice.append(input, text);
    input.addEventListener('change', () => { label = name; });
    find('.rx-palette').append(choice);
  });
}

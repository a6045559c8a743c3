// The canvas on which label maps are painted. Shapes are kept as they were drawn, in pixels of the map; the server draws
// them again without smoothed edges (repix/app/translate.py). Called by gradio with: element, trigger, props.
const find = (selector) => element.querySelector(selector);
const all = (selector) => [...element.querySelectorAll(selector)];
const canvas = find('.rx-source');
const { palette, size, start } = props.value;
const colours = Object.fromEntries(palette);
let tool = 'rect', label = 'window', shapes = structuredClone(start), current = null, serial = 0, timer = 0;

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
  for (const button of all('[data-do]')) button.disabled = !shapes.length;
  find('.rx-size').classList.toggle('rx-off', tool !== 'line');
}

const write = (shape) => [shape.label, ...(shape.kind === 'line' ? ['brush', shape.width] : []), ...shape.points.map((p) => p.join(','))].join(' ');
function read(text) { // throws a sentence
  return text.split('\n').map((line) => line.trim()).filter(Boolean).map((line) => {
    const [name, ...rest] = line.split(/\s+/);
    if (!(name in colours)) throw '“' + name + '” is none of ' + Object.keys(colours).join(', ');
    const brush = rest[0] === 'brush' ? rest.splice(0, 2) : null;
    const points = rest.map((pair) => pair.split(',').map(Number));
    const good = points.every((p) => p.length === 2 && p.every(Number.isFinite)) && (brush ? points.length && +brush[1] > 0 : points.length === 2);
    if (!good) throw '“' + line + '” is not of the form: ' + name + ' 40,60 80,110';
    return brush ? { kind: 'line', label: name, width: +brush[1], points } : { kind: 'rect', label: name, points };
  });
}

function changed(fromText) {
  if (!fromText) find('.rx-shapes').value = shapes.map(write).join('\n');
  find('.rx-said').textContent = '';
  draw();
  clearTimeout(timer);
  timer = setTimeout(() => {
    serial += 1;
    props.value = { ...props.value, serial, shapes };
    trigger('submit');
  }, 150);
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

let opened = false; // the first translation waits until the tab is looked at
new ResizeObserver(() => {
  draw();
  if (!opened && canvas.clientWidth) { opened = true; changed(); }
}).observe(canvas);

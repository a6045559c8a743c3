// The Compare tab: one image through several models, next to one another.
import { $, all, make, t, upload, save, begin, forget, cancel, config, take, guard, onFiles, bring, say as sayOn } from './page.js';
import { time, progress } from './parts.js';

let file = null, job = null, result = null, turn = 0, picked = 0;
const chosen = () => all('#compare-models input').filter((input) => input.checked).map((input) => input.value);
const say = (text, counting) => sayOn($('#compare-said'), text, counting);

function draw() {
  const names = chosen();
  $('#compare-go').disabled = !file || !names.length || names.length > config.max_models || job !== null;
  $('#compare-cancel').hidden = $('#compare-bar').hidden = job === null;
  $('#compare-download').disabled = !result;
  if (file && !names.length) say(t('Choose one model or more.'));
  else if (names.length > config.max_models) say(t('Choose at most {} models.', config.max_models));
}
function changed() { // what is shown belongs to other choices
  if (job) forget([job]);
  job = result = null;
  $('#compare-shown').replaceChildren();
  say('');
  draw();
}
async function choose(files) {
  const mine = picked += 1;
  turn += 1;
  file = null;
  changed();
  $('#compare-name').textContent = t('reading {}', files[0].name);
  try {
    const up = await upload(files[0]);
    if (mine !== picked) return;
    if (up.kind === 'video') throw new Error(t('This is a video; Compare takes an image.'));
    file = up;
    $('#compare-name').textContent = `${up.name} · ${up.width} × ${up.height}`;
  } catch (error) {
    if (mine !== picked) return;
    $('#compare-name').textContent = t('no image yet');
    say(error.message);
    return;
  }
  draw();
}
async function go() {
  const mine = turn += 1;
  changed();
  job = 'asked';
  draw();
  try {
    const id = await begin({ kind: 'compare', file: file.id, models: chosen() }, (state) => { if (mine === turn) told(state); });
    if (mine !== turn) forget([id]); else if (job) job = id;
  } catch (error) { job = null; say(error.message); }
  draw();
}
function told(state) {
  $('#compare-bar').value = state.fraction ?? 0;
  if (state.state === 'waiting' && state.place) say(t('waits for its turn; {} before it', state.place));
  if (state.state === 'running') {
    const left = state.left === null ? [] : [t('about {} left', time(state.left))];
    say([t('{} %', Math.floor(100 * state.fraction)), ...[state.doing.model].filter(Boolean), ...progress(state.doing), ...left].join(' · '), true);
  }
  if (!state.ended) return;
  job = null;
  say({ cancelled: t('Cancelled.'), failed: state.error, done: t('Done.') }[state.state] || '');
  if (state.state === 'done') {
    result = state.result;
    const rows = [{ model: t('as it was'), url: file.url }, ...result.rows];
    $('#compare-shown').replaceChildren(...rows.map(({ model, url, seconds }) => {
      const caption = seconds === undefined ? model : `${model} · ${seconds.toFixed(2)} s`;
      const link = make('a', { href: url, target: '_blank', rel: 'noopener' }, make('img', { src: url, alt: t('the image, {}', model) }));
      return make('figure', {}, link, make('figcaption', {}, caption));
    }));
    bring($('#compare-shown'));
  }
  draw();
}

export function build() {
  $('#compare-file').accept = config.images.join(',');
  for (const [index, name] of config.models.derain.entries()) {
    const input = make('input', { type: 'checkbox', value: name });
    input.checked = index < config.max_models;
    input.addEventListener('change', changed);
    $('#compare-models').append(make('label', {}, input, make('span', {}, name.split(/[\\/]/).pop())));
  }
  onFiles($('#compare-file'), choose);
  take('compare', choose);
  $('#compare-go').addEventListener('click', go);
  $('#compare-cancel').addEventListener('click', () => { if (job && job !== 'asked') cancel([job]).catch((error) => say(error.message)); });
  guard(() => result !== null && !result.saved);
  $('#compare-download').addEventListener('click', () => { save(result.file, result.name); result.saved = true; });
  draw();
}

// Runs the network and everything that takes long, away from the page's own thread.
//
// The page sends {kind: 'start', threads, gpu} once and {kind: 'derain', id, file} for each file; the answers are
// 'ready', 'failed', and for a file 'progress', 'draft', 'done'. To cancel, the page ends the worker.
import { FileError, read, write } from './files.js';
import { restoreLevels } from './pyramid.js';

const here = new URL('./', self.location.href);
let ready = null;

async function start({ threads, gpu }) {
  const ort = gpu ? await import('onnxruntime-web/webgpu') : await import('onnxruntime-web/wasm');
  const engine = gpu ? 'ort-wasm-simd-threaded.asyncify' : 'ort-wasm-simd-threaded';
  ort.env.wasm.wasmPaths = { mjs: new URL(`${engine}.mjs`, here).href, wasm: new URL(`${engine}.wasm`, here).href };
  ort.env.wasm.numThreads = threads;
  const card = await (await fetch(new URL('card.json', here))).json();
  const model = await (await fetch(new URL(card.model, here))).arrayBuffer();
  const session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: [gpu ? 'webgpu' : 'wasm'] });
  const [input] = session.inputNames, [output] = session.outputNames;
  const run = async (x, height, width) => {
    const made = await session.run({ [input]: new ort.Tensor('float32', x, [1, 3, height, width]) });
    return made[output].data;
  };
  return { run, scales: card.scales ?? [1, 1], multipleOf: card.multiple_of, tile: card.tiling?.tile ?? null, overlap: card.tiling?.overlap ?? 0 };
}

async function derain({ id, file }) {
  const { run, ...options } = await ready, { lost, isTurned, ...image } = await read(file);
  postMessage({ kind: 'progress', id, level: 0, fraction: 0, width: image.width, height: image.height, before: isTurned ? await write(image) : null });
  const { levels, ...made } = await restoreLevels(run, image, {
    ...options,
    progress: (how) => postMessage({ kind: 'progress', id, ...how }),
    onDraft: async (small) => postMessage({ kind: 'draft', id, blob: await write({ ...image, ...small, alpha: null }) }),
  });
  const blob = await write({ ...image, ...made });
  postMessage({ kind: 'done', id, blob, levels, lost: [...lost], suffix: image.kind === 'jpeg' ? 'jpg' : 'png' });
}

const say = (error, rest) => postMessage({ kind: 'failed', words: error.words ?? '{}', values: error.values ?? [error.message], ...rest });

self.onmessage = ({ data }) => {
  if (data.kind === 'start') {
    ready = start(data);
    ready.then(() => postMessage({ kind: 'ready' }), (error) => say(error));
  } else derain(data).catch((error) => say(error, { id: data.id, isFile: error instanceof FileError }));
};

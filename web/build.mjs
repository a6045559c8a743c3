// Builds the page: `npm ci && npm run build` fills dist/, or the folder that is named.
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { build } from 'esbuild';

const web = import.meta.dirname, repository = path.dirname(web), out = path.resolve(process.argv[2] ?? path.join(web, 'dist'));
const from = (...parts) => path.join(repository, ...parts);
const model = from('src', 'repix', 'assets', 'repixnet'), page = from('src', 'repix', 'app', 'page');
const engines = path.join(web, 'node_modules', 'onnxruntime-web', 'dist');

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const common = { bundle: true, minify: true, format: 'esm', target: 'es2022', outdir: out, logLevel: 'warning' };
await build({
  ...common, entryPoints: ['main.js', 'worker.js'].map((name) => path.join(web, 'src', name)), splitting: true,
  conditions: ['onnxruntime-web-use-extern-wasm'], legalComments: 'none',
});

const card = JSON.parse(await readFile(path.join(model, 'card.json'), 'utf8'));
// int8 would take half the time, but amplifies the last bit of its input, which no two engines share, to several grey levels
const { scales, multiple_of, tiling } = card, { file } = card.forms['onnx-fp16'] ?? card.forms['onnx-fp32'];
await writeFile(path.join(out, 'card.json'), JSON.stringify({ scales, multiple_of, tiling, model: file }));
const copies = [
  path.join(web, 'src', 'index.html'), path.join(page, 'style.css'), path.join(page, 'icon.svg'), from('examples', 'rainy.jpg'),
  path.join(model, file),
  ...['', '.asyncify'].flatMap((kind) => ['mjs', 'wasm'].map((suffix) => path.join(engines, `ort-wasm-simd-threaded${kind}.${suffix}`))),
];
for (const one of copies) await copyFile(one, path.join(out, path.basename(one)));
await writeFile(path.join(out, 'licences.txt'), await licences());

const files = (await readdir(out)).sort(), hash = createHash('sha256');
for (const name of files) hash.update(name).update(await readFile(path.join(out, name)));
const large = /\.(onnx|wasm)$/, seldom = /asyncify|webgpu|licences/; // what the graphics card needs is kept when it is used
const used = files.filter((name) => !seldom.test(name));
const lists = { VERSION: hash.digest('hex').slice(0, 16), FIRST: ['./', ...used.filter((name) => !large.test(name))], LATER: used.filter((name) => large.test(name)) };
await build({ ...common, entryPoints: [path.join(web, 'src', 'sw.js')], define: Object.fromEntries(Object.entries(lists).map(([key, value]) => [key, JSON.stringify(value)])) });

async function licences() { // of what the page is made of, as they ask for
  const parts = [await readFile(from('LICENSE'), 'utf8')];
  for (const name of ['fast-png', 'fflate', 'iobuffer']) parts.push(`${name}\n\n${await readFile(path.join(web, 'node_modules', name, 'LICENSE'), 'utf8')}`);
  const mit = parts.at(-1).slice(parts.at(-1).indexOf('Permission is hereby granted'));
  parts.push(`onnxruntime-web\n\nMIT License\n\nCopyright (c) Microsoft Corporation\n\n${mit}`);
  return parts.join(`\n${'-'.repeat(80)}\n\n`);
}

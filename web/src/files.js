// Image files: pixels without colour conversion, and what a JPEG or PNG holds beside them, which the result holds again.
import { convertIndexedToRgb, decode as decodePng, encode as encodePng } from 'fast-png';

const MOST_PIXELS = 50e6; // what a browser can hold several times
const JPEG_QUALITY = 0.95;
const SEGMENTS = [ // of JPEG: [marker, how it begins, whether the result keeps it, what to call it where not]
  [0xe0, 'JFIF\0', true], [0xe1, 'Exif\0\0', true], [0xe1, 'http://ns.adobe.com/xap/1.0/\0', true],
  [0xe1, 'http://ns.adobe.com/xmp/extension/\0', true], [0xe2, 'ICC_PROFILE\0', true], [0xed, 'Photoshop 3.0\0', true], [0xfe, '', true],
  [0xee, 'Adobe', false, ''], [0xe2, 'MPF\0', false, 'further images in the file'], [0xeb, '', false, 'content credentials'],
];
const CHUNKS = ['iCCP', 'sRGB', 'cICP', 'mDCV', 'cLLI', 'gAMA', 'cHRM', 'pHYs', 'eXIf', 'tEXt', 'zTXt', 'iTXt', 'tIME']; // of PNG, kept
const LOST = { acTL: 'all frames but the first', caBX: 'content credentials' };

/** What a file cannot be read for; `words` are what the page says, `values` what stands in them. */
export class FileError extends Error {
  constructor(words, ...values) { super(words); Object.assign(this, { words, values }); }
}

const text = (bytes) => new TextDecoder('latin1').decode(bytes);
const begins = (bytes, with_) => [...with_].every((letter, i) => bytes[i] === letter.charCodeAt(0));
function concatenate(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { out.set(part, at); at += part.length; }
  return out;
}

// ---- EXIF: a TIFF of tags alone ----

function upright(tiff) { // in place: says upright and forgets the thumbnail, which shows the rain; gives the orientation that was
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.length), little = view.getUint16(0) === 0x4949;
  const first = view.getUint32(4, little), count = view.getUint16(first, little);
  let orientation = 1;
  for (let at = first + 2; at < first + 2 + 12 * count; at += 12) {
    if (view.getUint16(at, little) !== 0x0112) continue;
    orientation = view.getUint16(at + 8, little);
    view.setUint16(at + 8, 1, little);
  }
  view.setUint32(first + 2 + 12 * count, 0, little);
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

// ---- JPEG ----

function* segments(bytes) { // [marker, offset of the segment, offset after it], until the image's data begin
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff;) {
    const marker = bytes[at + 1];
    if (marker === 0xda) return;
    const end = marker === 0xff ? at + 1 : at + 2 + (bytes[at + 2] << 8) + bytes[at + 3];
    if (marker !== 0xff) yield [marker, at, end];
    at = end;
  }
}

function readJpeg(bytes) {
  const kept = [], lost = new Set();
  let channels = 3;
  for (const [marker, at, end] of segments(bytes)) {
    const whole = bytes.slice(at, end), inside = whole.subarray(4);
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) channels = inside[5];
    if (marker !== 0xfe && (marker < 0xe0 || marker > 0xef)) continue;
    const [, start, stays, name = 'data of a maker'] = SEGMENTS.find(([kind, how]) => kind === marker && begins(inside, how)) ?? [];
    if (!stays) { if (name) lost.add(name); continue; }
    if (start === 'JFIF\0') { // its resolution, without its thumbnail
      const short = whole.slice(0, 18);
      short.set([0, 16], 2);
      kept.push([start, short.fill(0, 16)]);
      continue;
    }
    if (start === 'Exif\0\0') try { upright(inside.subarray(6)); } catch { lost.add('EXIF, which is damaged'); continue; }
    if (start.startsWith('http')) {
      if (/hdrgm:|Container:/.test(text(inside))) { lost.add('XMP that describes further images'); continue; }
      const place = /tiff:Orientation(?:="|>)(?=[2-8])/.exec(text(inside));
      if (place) inside[place.index + place[0].length] = 0x31;
    }
    kept.push([start, whole]);
  }
  const profile = kept.find(([start, whole]) => start === 'ICC_PROFILE\0' && whole[16] === 1)?.[1];
  const colours = profile && text(profile.subarray(18 + 16, 18 + 20));
  if (channels === 4) lost.add('CMYK, which became RGB');
  return {
    grey: channels === 1, lost,
    kept: profile && colours !== 'RGB ' ? (lost.add('the colour profile'), kept.filter(([start]) => start !== 'ICC_PROFILE\0')) : kept,
  };
}

function withSegments(bytes, kept) { // what the encoder made, with what the input held
  const own = [...segments(bytes)].filter(([marker]) => (marker >= 0xe0 && marker <= 0xef) || marker === 0xfe);
  const after = own.length ? own.at(-1)[2] : 2;
  return concatenate([bytes.subarray(0, 2), ...kept.map(([, whole]) => whole), bytes.subarray(after)]);
}

// ---- PNG ----

function* chunks(bytes) { // [type, offset of the chunk, offset after it]
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 8; at + 12 <= bytes.length;) {
    const end = at + 12 + view.getUint32(at);
    yield [text(bytes.subarray(at + 4, at + 8)), at, end];
    at = end;
  }
}

function crc(bytes) {
  let value = -1;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit += 1) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  }
  return ~value >>> 0;
}

function readPng(bytes) {
  const kept = [], lost = new Set();
  let orientation = 1;
  for (const [type, at, end] of chunks(bytes)) {
    if (LOST[type]) lost.add(LOST[type]);
    if (!CHUNKS.includes(type)) continue;
    const whole = bytes.slice(at, end);
    if (type === 'eXIf') try {
      orientation = upright(whole.subarray(8, -4));
      new DataView(whole.buffer).setUint32(whole.length - 4, crc(whole.subarray(4, -4)));
    } catch { lost.add('EXIF, which is damaged'); continue; }
    kept.push(whole);
  }
  return { kept, lost, orientation };
}

function withChunks(bytes, kept) {
  const own = [...chunks(bytes)].filter(([type]) => !CHUNKS.includes(type)).map(([, at, end]) => bytes.subarray(at, end));
  return concatenate([bytes.subarray(0, 8), own[0], ...kept, ...own.slice(1)]);
}

// ---- WebP, whose orientation not every browser heeds ----

function turnWebp(bytes) { // in place: says upright; gives the orientation that was
  if (!begins(bytes, 'RIFF') || !begins(bytes.subarray(8), 'WEBP')) return 1;
  const view = new DataView(bytes.buffer);
  for (let at = 12; at + 8 <= bytes.length;) {
    const inside = bytes.subarray(at + 8, at + 8 + view.getUint32(at + 4, true));
    if (begins(bytes.subarray(at), 'EXIF')) try { return upright(begins(inside, 'Exif\0\0') ? inside.subarray(6) : inside); } catch { return 1; }
    at += 8 + inside.length + (inside.length % 2);
  }
  return 1;
}

// ---- pixels ----

function turn({ data, width, height }, channels, orientation) { // as EXIF's orientation asks
  if (orientation === 1) return { data, width, height };
  const swapped = orientation > 4, w = swapped ? height : width, h = swapped ? width : height;
  const fromRight = [2, 3, 7, 8].includes(orientation), fromBelow = [3, 4, 6, 7].includes(orientation);
  const out = new data.constructor(data.length);
  for (let y = 0, to = 0; y < h; y += 1) for (let x = 0; x < w; x += 1) {
    const [column, row] = swapped ? [y, x] : [x, y];
    const from = ((fromBelow ? height - 1 - row : row) * width + (fromRight ? width - 1 - column : column)) * channels;
    for (let k = 0; k < channels; k += 1, to += 1) out[to] = data[from + k];
  }
  return { data: out, width: w, height: h };
}

function split({ data, width, height }, channels, key = null) { // -> RGB and what is transparent; key: of PNG, the colour that is
  const count = width * height, Kind = data.BYTES_PER_ELEMENT === 2 ? Uint16Array : Uint8Array, most = Kind === Uint16Array ? 65535 : 255;
  const rgb = new Kind(count * 3), coloured = channels > 2;
  const alpha = channels % 2 && !key ? null : new Kind(count);
  for (let i = 0, from = 0; i < count; i += 1, from += channels) {
    for (let k = 0; k < 3; k += 1) rgb[i * 3 + k] = data[from + (coloured ? k : 0)];
    if (alpha) alpha[i] = !key ? data[from + channels - 1] : key.every((value, k) => value === data[from + k]) ? 0 : most;
  }
  return { data: rgb, width, height, alpha };
}

function pngPixels(bytes) { // -> {data, width, height, channels, key}
  const png = decodePng(bytes), { depth, transparency: key = null } = png, colour = bytes[25], most = 2 ** depth - 1;
  if (colour === 0 && depth < 8) png.palette = Array.from({ length: most + 1 }, (_, i) => (key ? [(i * 255) / most, i === key[0] ? 0 : 255] : [(i * 255) / most]));
  return colour === 3 || depth < 8 ? { ...png, data: convertIndexedToRgb(png), channels: png.palette[0].length, key: null } : { ...png, key };
}

async function throughBrowser(file, bytes, orientation = 1) { // what the browser decodes, upright; orientation: one that it knows nothing of
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: 'none', premultiplyAlpha: 'none', imageOrientation: 'from-image' });
  } catch { throw new FileError('{} cannot be read by this browser. It takes JPEG and PNG; the program repix takes more.', file.name); }
  const { width, height } = bitmap;
  check(file, width, height);
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { alpha, ...pixels } = split(turn(context.getImageData(0, 0, width, height), 4, orientation), 4);
  return { ...pixels, alpha: alpha.every((value) => value === 255) ? null : alpha };
}

function check(file, width, height) {
  if (!(width * height)) throw new FileError('{} is damaged.', file.name);
  if (width * height > MOST_PIXELS) throw new FileError('{} has {} megapixels; this page takes at most {}. The program repix takes more.', file.name, Math.round(width * height / 1e6), MOST_PIXELS / 1e6);
}

/**
 * A file -> {data: RGB, height, width, alpha, grey, kind, kept, lost, isTurned}; `lost` are the names of what the result cannot
 * hold; isTurned: browsers show the file as it lies, and not upright.
 */
export async function read(file) {
  let bytes;
  try { bytes = new Uint8Array(await file.arrayBuffer()); } catch {
    throw new FileError('{} cannot be opened: it is a folder, or was moved or changed after it was chosen.', file.name);
  }
  if (begins(bytes, '\x89PNG\r\n')) {
    if (bytes.length < 57) throw new FileError('{} is damaged.', file.name); // it has no room for an image
    const { kept, lost, orientation } = readPng(bytes), view = new DataView(bytes.buffer);
    check(file, view.getUint32(16), view.getUint32(20));
    if (bytes[24] < 8 && bytes[28]) return { ...await throughBrowser(file, bytes), grey: bytes[25] === 0, kind: 'png', kept, lost }; // fast-png cannot
    try {
      const { channels, key, ...png } = pngPixels(bytes);
      return { ...split(turn(png, channels, orientation), channels, key), grey: bytes[25] % 4 === 0, kind: 'png', kept, lost };
    } catch { throw new FileError('{} is damaged.', file.name); }
  }
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return { ...await throughBrowser(file, bytes), kind: 'jpeg', ...readJpeg(bytes) };
  const orientation = turnWebp(bytes), pixels = await throughBrowser(file, bytes, orientation);
  return { ...pixels, isTurned: orientation > 1, grey: false, kind: 'png', kept: [], lost: new Set(['EXIF and colour profile; the result is a PNG']) };
}

/** What `read` gave, with other pixels of the same or another size -> a Blob of its kind. */
export async function write({ data, height, width, alpha = null, grey, kind, kept }, quality = JPEG_QUALITY) {
  const count = width * height, wide = data.BYTES_PER_ELEMENT === 2;
  if (grey) for (let i = 0; i < data.length; i += 3) data.fill(Math.round((data[i] + data[i + 1] + data[i + 2]) / 3), i, i + 3);
  if (kind === 'png' && (grey || alpha || wide)) {
    const colours = grey ? 1 : 3, channels = colours + (alpha ? 1 : 0), mixed = new data.constructor(count * channels);
    for (let i = 0; i < count; i += 1) {
      for (let k = 0; k < colours; k += 1) mixed[i * channels + k] = data[i * 3 + k];
      if (alpha) mixed[i * channels + colours] = alpha[i];
    }
    return new Blob([withChunks(encodePng({ width, height, data: mixed, depth: wide ? 16 : 8, channels }), kept)], { type: 'image/png' });
  }
  const shown = new ImageData(width, height);
  for (let i = 0; i < count; i += 1) {
    for (let k = 0; k < 3; k += 1) shown.data[i * 4 + k] = wide ? Math.round(data[i * 3 + k] / 257) : data[i * 3 + k];
    shown.data[i * 4 + 3] = 255;
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext('2d', { willReadFrequently: true }).putImageData(shown, 0, 0);
  const type = `image/${kind}`, bytes = new Uint8Array(await (await canvas.convertToBlob({ type, quality })).arrayBuffer());
  return new Blob([(kind === 'png' ? withChunks : withSegments)(bytes, kept)], { type });
}

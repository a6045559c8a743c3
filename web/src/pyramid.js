// Restoration over scales, as repix.infer.pyramid does it: which levels run is the same, and the result within one grey
// level. Plain JavaScript that needs nothing else; `run` is whatever runs the network.
//
// A level is a power of two. Level s of the current image is the mean of its blocks of s×s pixels; what the network
// takes away from that is enlarged s times (bicubic, Keys 1981, a = -1/2) and subtracted from the current image.
//
// Arrays are (rows, columns, 3), interleaved; what waits between levels is rounded to half precision, as in repix.

const SHORTEST = 240; // a level whose shorter side would have fewer pixels is not tried
const COARSEST = 16;
const GRID = 6; // cells along each side of the image, each of which is looked at
const TILE = 128; // pixels along each side of what is looked at in a cell, where a level is not looked at as a whole
const COMPARED = 12; // of those, how many are compared with their mirrored selves
const WHOLE = 1_200_000; // pixels of a level up to which it is looked at as a whole
const PRECISE = 48_000_000; // pixels beyond which memory is spared
const BAND = 128; // rows that are worked on at once
const FINE = [0.40, 0.25], COARSE = [0.25, 0.70]; // see repix.infer.pyramid
const OWN = 0.13, DIRECTED = 0.3, ALONG = 0.4;

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
const ceilDiv = (a, b) => Math.ceil(a / b);

/** The levels that an image has, finest first. */
export function listLevels(height, width) {
  const levels = [1];
  while (levels.at(-1) < COARSEST && Math.floor(Math.min(height, width) / (2 * levels.at(-1))) >= SHORTEST) levels.push(2 * levels.at(-1));
  return levels;
}

function toHalf(values) { // Float32Array, in place: to the nearest float16, half to even
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i += 1) {
    const b = bits[i];
    if ((b & 0x7fffffff) >= 0x38800000) bits[i] = (b + 0xfff + ((b >>> 13) & 1)) & ~0x1fff;
    else values[i] = (values[i] * 2 ** 24 + 6755399441055744 - 6755399441055744) / 2 ** 24; // subnormal: steps of 2^-24
  }
  return values;
}

// ---- resampling ----

/** Means of blocks of factor×factor pixels over `scale`; border pixels stand in for those that blocks lack. */
function reduce({ data, height, width }, factor, scale = 1) {
  const rows = ceilDiv(height, factor), columns = ceilDiv(width, factor);
  const out = new Float32Array(rows * columns * 3), sums = new Float64Array(columns * 3), over = 1 / (factor * factor * scale);
  for (let row = 0; row < rows; row += 1) {
    sums.fill(0);
    for (let dy = 0; dy < factor; dy += 1) {
      const line = Math.min(row * factor + dy, height - 1) * width * 3;
      for (let column = 0; column < columns; column += 1) {
        for (let dx = 0; dx < factor; dx += 1) {
          const from = line + Math.min(column * factor + dx, width - 1) * 3, to = column * 3;
          sums[to] += data[from];
          sums[to + 1] += data[from + 1];
          sums[to + 2] += data[from + 2];
        }
      }
    }
    for (let i = 0, to = row * columns * 3; i < sums.length; i += 1) out[to + i] = sums[i] * over;
  }
  return { data: out, height: rows, width: columns };
}

const kernels = new Map();
function kernel(factor) { // for each place within a block: offset of the first of four pixels, and their weights
  if (!kernels.has(factor)) kernels.set(factor, Array.from({ length: factor }, (_, phase) => {
    const centre = (phase + 0.5) / factor - 0.5, first = Math.floor(centre) - 1;
    const weights = [0, 1, 2, 3].map((tap) => {
      const d = Math.abs(centre - (first + tap));
      if (d <= 1) return Math.fround((1.5 * d - 2.5) * d * d + 1);
      return d < 2 ? Math.fround(((-0.5 * d + 2.5) * d - 4) * d + 2) : 0;
    });
    return { first, weights };
  }));
  return kernels.get(factor);
}

/** Subtract a window of a layer, enlarged `factor` times by bicubic interpolation, from an array of its size. */
function subtractEnlarged(out, layer, factor, top, bottom, left, right, half = false) {
  const taps = kernel(factor), from = Math.floor(left / factor) - 2, count = Math.floor((right - 1) / factor) + 3 - from;
  const line = new Float32Array(count * 3), { data, height, width } = layer;
  const made = new Float32Array((right - left) * 3);
  for (let y = top; y < bottom; y += 1) {
    const down = taps[y % factor], row = Math.floor(y / factor) + down.first;
    const [a, b, c, d] = down.weights, at = [0, 1, 2, 3].map((tap) => clamp(row + tap, 0, height - 1) * width);
    for (let i = 0; i < count; i += 1) {
      const x = clamp(from + i, 0, width - 1), p = (at[0] + x) * 3, q = (at[1] + x) * 3, r = (at[2] + x) * 3, s = (at[3] + x) * 3;
      for (let k = 0; k < 3; k += 1) line[i * 3 + k] = a * data[p + k] + b * data[q + k] + c * data[r + k] + d * data[s + k];
    }
    for (let x = left, to = 0; x < right; x += 1, to += 3) {
      const across = taps[x % factor], i = (Math.floor(x / factor) + across.first - from) * 3, w = across.weights;
      for (let k = 0; k < 3; k += 1) made[to + k] = w[0] * line[i + k] + w[1] * line[i + 3 + k] + w[2] * line[i + 6 + k] + w[3] * line[i + 9 + k];
    }
    if (half) toHalf(made);
    for (let i = 0, to = (y - top) * made.length; i < made.length; i += 1) out[to + i] -= made[i];
  }
}

// ---- the image while levels run ----

class Current {
  constructor(image, levels) {
    this.levels = levels.filter((level) => level > 1);
    this.rebase(image);
  }

  rebase(base) { // the image, or what level 1 has made of it
    Object.assign(this, { base, height: base.height, width: base.width, scale: base.data.BYTES_PER_ELEMENT === 2 ? 65535 : 255 });
    this.layers = []; // [level, rain layer] that are still to be subtracted
    this.reduced = new Map(); // level -> the current image at that level
    let finer = base, at = 1;
    for (const level of this.levels) {
      finer = reduce(finer, level / at, at === 1 ? this.scale : 1);
      toHalf(finer.data);
      this.reduced.set(level, finer);
      at = level;
    }
  }

  window(top, bottom, left, right) { // of the full resolution, in [0, 1]
    const out = cut(this.base, top, bottom, left, right);
    for (let i = 0; i < out.length; i += 1) out[i] /= this.scale;
    for (const [level, layer] of this.layers) subtractEnlarged(out, layer, level, top, bottom, left, right);
    if (this.layers.length) for (let i = 0; i < out.length; i += 1) out[i] = clamp(out[i], 0, 1);
    return out;
  }

  subtract(level, layer) {
    const kept = { ...layer, data: toHalf(layer.data.slice()) };
    this.layers.push([level, kept]);
    for (const [other, { data, height, width }] of this.reduced) {
      if (other < level) subtractEnlarged(data, kept, level / other, 0, height, 0, width, true);
      else {
        const less = other > level ? toHalf(reduce(kept, other / level).data) : kept.data;
        for (let i = 0; i < data.length; i += 1) data[i] -= less[i];
      }
      toHalf(data);
    }
  }
}

function cut({ data, width }, top, bottom, left, right) {
  const out = new Float32Array((bottom - top) * (right - left) * 3);
  for (let y = top; y < bottom; y += 1) out.set(data.subarray((y * width + left) * 3, (y * width + right) * 3), (y - top) * (right - left) * 3);
  return out;
}
function clipped(values) {
  for (let i = 0; i < values.length; i += 1) values[i] = clamp(values[i], 0, 1);
  return values;
}

// ---- tiles ----

function mirrored(start, length, size) { // where to read `length` samples from `start` on out of `size`
  return Int32Array.from({ length }, (_, i) => {
    const at = Math.abs(start + i);
    return clamp(at < size ? at : 2 * (size - 1) - at, 0, size - 1);
  });
}

function cuts(length, multipleOf, tile, overlap) { // where equal pieces start along one side, and their length
  const padded = ceilDiv(length, multipleOf) * multipleOf;
  if (tile === null || padded <= tile) return { starts: [0], size: padded };
  const count = ceilDiv(padded - overlap, tile - overlap);
  const size = Math.ceil(ceilDiv(padded + (count - 1) * overlap, count) / multipleOf) * multipleOf;
  const units = (padded - size) / multipleOf;
  return { starts: Array.from({ length: count }, (_, i) => Math.floor((i * units) / (count - 1)) * multipleOf), size };
}

function weigh(starts, length, overlap) { // for each piece its weights; over any pixel they add up to 1
  const raw = starts.map((_, i) => Float64Array.from({ length }, (_, at) => {
    let inside = Infinity; // distance to the nearest cut that is not the image's border
    if (i > 0) inside = at + 0.5;
    if (i + 1 < starts.length) inside = Math.min(inside, length - at - 0.5);
    return overlap ? clamp((inside - (overlap * 3) / 8) / (overlap / 4), 0, 1) : 1;
  }));
  const total = new Float64Array(starts.at(-1) + length);
  starts.forEach((start, i) => raw[i].forEach((weight, at) => { total[start + at] += weight; }));
  return starts.map((start, i) => Float32Array.from(raw[i], (weight, at) => weight / total[start + at]));
}

/** Run the network over what `read` gives, in overlapped tiles, and hand each finished band to `write`. */
async function runTiles(run, read, write, height, width, { multipleOf, tile, overlap, progress }) {
  if (tile !== null) {
    tile = Math.max(Math.floor(tile / multipleOf), 1) * multipleOf;
    overlap = Math.min(ceilDiv(overlap, multipleOf), Math.floor(tile / multipleOf / 2)) * multipleOf;
  }
  const rows = cuts(height, multipleOf, tile, overlap), columns = cuts(width, multipleOf, tile, overlap);
  const down = weigh(rows.starts, rows.size, overlap), across = weigh(columns.starts, columns.size, overlap);
  const breadth = columns.starts.at(-1) + columns.size, held = new Float32Array(rows.size * breadth * 3), plane = rows.size * columns.size;
  for (const [i, row] of rows.starts.entries()) {
    const ys = mirrored(row, rows.size, height), top = Math.min(...ys), bottom = Math.max(...ys) + 1;
    for (const [j, column] of columns.starts.entries()) {
      const xs = mirrored(column, columns.size, width), left = Math.min(...xs), right = Math.max(...xs) + 1;
      const piece = read(top, bottom, left, right), given = new Float32Array(3 * plane);
      for (let y = 0, to = 0; y < rows.size; y += 1) {
        const line = (ys[y] - top) * (right - left) - left;
        for (let x = 0; x < columns.size; x += 1, to += 1) {
          const from = (line + xs[x]) * 3;
          given[to] = piece[from];
          given[plane + to] = piece[from + 1];
          given[2 * plane + to] = piece[from + 2];
        }
      }
      const got = await run(given, rows.size, columns.size);
      for (let y = 0, from = 0; y < rows.size; y += 1) {
        for (let x = 0, to = (y * breadth + column) * 3; x < columns.size; x += 1, from += 1, to += 3) {
          const weight = down[i][y] * across[j][x];
          if (weight === 0) continue;
          held[to] += got[from] * weight;
          held[to + 1] += got[plane + from] * weight;
          held[to + 2] += got[2 * plane + from] * weight;
        }
      }
      progress?.(1 / (rows.starts.length * columns.starts.length));
    }
    const done = (rows.starts[i + 1] ?? height) - row; // rows above the next band are finished
    const ready = new Float32Array(done * width * 3);
    for (let y = 0; y < done; y += 1) ready.set(held.subarray(y * breadth * 3, (y * breadth + width) * 3), y * width * 3);
    if (!ready.every(Number.isFinite)) throw new Error("the network's output is not finite");
    write(row, row + done, ready);
    held.copyWithin(0, done * breadth * 3);
    held.fill(0, (rows.size - done) * breadth * 3);
  }
}

function writer(out) { // rounds, half to even, and clips
  const scale = out.data.BYTES_PER_ELEMENT === 2 ? 65535 : 255, even = 6755399441055744;
  return (top, bottom, made) => {
    for (let i = 0, to = top * out.width * 3; i < made.length; i += 1) out.data[to + i] = clamp(Math.fround(made[i] * scale) + even - even, 0, scale);
  };
}

async function runWhole(run, { data, height, width }, multipleOf) {
  const out = { data: null, height, width };
  await runTiles(run, () => data, (top, bottom, made) => { out.data = made; }, height, width, { multipleOf, tile: null, overlap: 0 });
  return out;
}

// ---- looking which levels find rain ----

const spread = (length) => Array.from({ length: GRID + 1 }, (_, i) => (i === GRID ? length : Math.trunc(i * (length / GRID))));

class Looking { // tries levels: coarse ones as a whole, fine ones on one tile in each cell
  constructor(run, current, multipleOf) {
    Object.assign(this, { run, current, multipleOf, corners: null, tops: spread(current.height), lefts: spread(current.width) });
  }

  isWhole(level) { return level > 1 && ceilDiv(this.current.height, level) * ceilDiv(this.current.width, level) <= WHOLE; }

  look(level) { return this.isWhole(level) ? this.whole(level) : this.tiles(level); }

  chooseTiles(level, { data, height, width }) { // where a coarser level has found most in each cell
    const size = Math.max(Math.floor(TILE / level), 1), { current } = this;
    this.corners = [];
    for (let i = 0; i < GRID; i += 1) for (let j = 0; j < GRID; j += 1) {
      const y0 = Math.floor(this.tops[i] / level), y1 = Math.min(Math.max(Math.floor(this.tops[i + 1] / level), y0 + 1), height);
      const x0 = Math.floor(this.lefts[j] / level), x1 = Math.min(Math.floor(this.lefts[j + 1] / level), width);
      const h = y1 - y0, w = x1 - x0, sums = new Float64Array((h + 1) * (w + 1));
      for (let y = 0; y < h; y += 1) for (let x = 0, along = 0; x < w; x += 1) {
        const at = ((y0 + y) * width + x0 + x) * 3;
        along += Math.fround((Math.abs(data[at]) + Math.abs(data[at + 1]) + Math.abs(data[at + 2])) / 3);
        sums[(y + 1) * (w + 1) + x + 1] = sums[y * (w + 1) + x + 1] + along;
      }
      const n = Math.min(size, h), m = Math.min(size, w);
      let most = -Infinity, y = 0, x = 0;
      for (let a = 0; a + n <= h; a += 1) for (let b = 0; b + m <= w; b += 1) {
        const found = sums[(a + n) * (w + 1) + b + m] - sums[a * (w + 1) + b + m] - sums[(a + n) * (w + 1) + b] + sums[a * (w + 1) + b];
        if (found > most) [most, y, x] = [found, a, b];
      }
      if (most <= 0) [y, x] = [Math.floor((h - n + 1) / 2), Math.floor((w - m + 1) / 2)];
      this.corners.push([
        clamp(this.tops[i] + y * level, 0, Math.max(current.height - TILE, 0)),
        clamp(this.lefts[j] + x * level, 0, Math.max(current.width - TILE, 0)),
      ]);
    }
  }

  async whole(level) {
    const { data, height, width } = this.current.reduced.get(level), x = clipped(data.slice());
    const made = await runWhole(this.run, { data: x, height, width }, this.multipleOf);
    const layer = { data: x.map((value, i) => value - made.data[i]), height, width };
    const turned = new Float32Array((height + 1) * (width + 1) * 3); // moved by a pixel, and mirrored
    for (let r = 0; r <= height; r += 1) for (let c = 0; c <= width; c += 1) for (let k = 0; k < 3; k += 1) {
      turned[(r * (width + 1) + c) * 3 + k] = x[(Math.abs(r - 1) * width + Math.abs(width - c - 1)) * 3 + k];
    }
    const other = await runWhole(this.run, { data: turned, height: height + 1, width: width + 1 }, this.multipleOf);
    const found = new Float32Array(height * width), differs = new Float32Array(height * width);
    for (let r = 0, at = 0; r < height; r += 1) for (let c = 0; c < width; c += 1, at += 1) {
      let taken = 0, apart = 0;
      for (let k = 0; k < 3; k += 1) {
        const mine = clamp(made.data[at * 3 + k], 0, 1), its = clamp(other.data[((r + 1) * (width + 1) + width - 1 - c) * 3 + k], 0, 1);
        taken += Math.abs(layer.data[at * 3 + k]);
        apart += Math.abs(mine - its);
      }
      found[at] = taken / 3;
      differs[at] = apart / 6;
    }
    if (this.corners === null) this.chooseTiles(level, layer);
    const size = Math.max(Math.floor(TILE / level), 1);
    const pieces = this.corners.map(([y, x]) => {
      const top = Math.floor(y / level), left = Math.floor(x / level), bottom = Math.min(top + size, height), right = Math.min(left + size, width);
      return { data: cut(layer, top, bottom, left, right), height: bottom - top, width: right - left };
    });
    return { amount: this.cells(found, level, height, width), differs: this.cells(differs, level, height, width), ...energies(pieces), direction: direction([layer]), layer };
  }

  cells(values, level, height, width) { // means over cells
    const edges = (cuts, last) => [...cuts.slice(0, -1).map((at) => Math.floor(at / level)), last];
    const tops = edges(this.tops, height), lefts = edges(this.lefts, width), out = [];
    for (let i = 0; i < GRID; i += 1) for (let j = 0; j < GRID; j += 1) {
      let sum = 0;
      for (let y = tops[i]; y < tops[i + 1]; y += 1) for (let x = lefts[j]; x < lefts[j + 1]; x += 1) sum += values[y * width + x];
      out.push(sum / ((tops[i + 1] - tops[i]) * (lefts[j + 1] - lefts[j])));
    }
    return out;
  }

  async tiles(level) {
    const { current, run } = this, rows = ceilDiv(current.height, level), columns = ceilDiv(current.width, level);
    if (this.corners === null) this.chooseTiles(level, { data: new Float32Array(rows * columns * 3), height: rows, width: columns });
    const room = Math.min(TILE + 1, rows, columns); // for the mirrored image, moved by a pixel
    const given = this.corners.map(([y, x]) => {
      if (level === 1) {
        const top = Math.min(y, rows - room), left = Math.min(x, columns - room);
        return current.window(top, top + room, left, left + room);
      }
      const middle = (at) => Math.floor((at + TILE / 2) / level) - Math.floor(room / 2);
      const top = clamp(middle(y), 0, rows - room), left = clamp(middle(x), 0, columns - room);
      return clipped(cut(current.reduced.get(level), top, top + room, left, left + room));
    });
    const side = Math.floor((room - 1) / this.multipleOf) * this.multipleOf, plane = side * side;
    const planes = (piece, moved) => {
      const out = new Float32Array(3 * plane);
      for (let y = 0, to = 0; y < side; y += 1) for (let x = 0; x < side; x += 1, to += 1) {
        const from = moved ? ((y + 1) * room + side - x) * 3 : (y * room + x) * 3;
        for (let k = 0; k < 3; k += 1) out[k * plane + to] = piece[from + k];
      }
      return out;
    };
    const made = [], layers = [], amount = [];
    for (const piece of given) {
      const plain = planes(piece, false), got = Float32Array.from(await run(plain, side, side));
      made.push(got);
      layers.push(plain.map((value, i) => value - got[i]));
      amount.push(layers.at(-1).reduce((sum, value) => sum + Math.abs(value), 0) / plain.length);
    }
    const differs = amount.map(() => Infinity);
    const most = amount.map((_, i) => i).sort((a, b) => amount[b] - amount[a]);
    for (const i of most.slice(0, COMPARED)) { // rain that is not even there need not be agreed on
      const other = await run(planes(given[i], true), side, side);
      let sum = 0;
      for (let k = 0; k < 3; k += 1) for (let y = 1; y < side; y += 1) for (let x = 1; x < side; x += 1) {
        sum += Math.abs(clamp(made[i][k * plane + y * side + x], 0, 1) - clamp(other[k * plane + (y - 1) * side + side - x], 0, 1));
      }
      differs[i] = sum / (3 * (side - 1) ** 2) / 2;
    }
    const inner = Math.min(Math.floor(TILE / level), side), first = Math.floor((side - inner) / 2);
    const middles = layers.map((layer) => {
      const data = new Float32Array(inner * inner * 3);
      for (let y = 0, to = 0; y < inner; y += 1) for (let x = 0; x < inner; x += 1) for (let k = 0; k < 3; k += 1, to += 1) {
        data[to] = layer[k * plane + (first + y) * side + first + x];
      }
      return { data, height: inner, width: inner };
    });
    const pixels = layers.map((layer) => {
      const data = new Float32Array(3 * plane);
      for (let at = 0; at < plane; at += 1) for (let k = 0; k < 3; k += 1) data[at * 3 + k] = layer[k * plane + at];
      return { data, height: side, width: side };
    });
    return { amount, differs, ...energies(middles), direction: direction(pixels) };
  }
}

function energies(pieces) { // mean square, and that of what is left when what half the resolution can hold is taken away
  const square = (data) => data.reduce((sum, value) => sum + value * value, 0) / data.length;
  let energy = 0, own = 0;
  for (const piece of pieces) {
    const left = piece.data.slice();
    subtractEnlarged(left, reduce(piece, 2), 2, 0, piece.height, 0, piece.width);
    energy += square(piece.data) / pieces.length;
    own += square(left) / pieces.length;
  }
  return { energy, own };
}

function direction(layers) { // which way strokes run: the structure tensor's angle, doubled; (1, 0) is upright, (-1, 0) level
  let upright = 0, slanted = 0, total = 0;
  for (const { data, height, width } of layers) {
    if (height < 2 || width < 2) continue; // the last rows of an image
    const luma = new Float32Array(height * width).map((_, at) => (data[at * 3] + data[at * 3 + 1] + data[at * 3 + 2]) / 3);
    for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) {
      const [top, bottom, left, right] = [Math.max(y - 1, 0), Math.min(y + 1, height - 1), Math.max(x - 1, 0), Math.min(x + 1, width - 1)];
      const down = (luma[bottom * width + x] - luma[top * width + x]) / (bottom - top);
      const across = (luma[y * width + right] - luma[y * width + left]) / (right - left);
      upright += across * across - down * down;
      slanted += 2 * across * down;
      total += across * across + down * down;
    }
  }
  return total ? [upright / total, slanted / total] : [0, 0];
}

function runsAlong(strokes, rain) { // others than the rain's way, such as those of fur and water, are no rain
  const strength = Math.hypot(...rain);
  return strength < DIRECTED || strokes[0] * rain[0] + strokes[1] * rain[1] >= ALONG * strength;
}
const isLevel = (direction) => direction[0] <= -DIRECTED; // rain falls: such an image lies on its side
const mostTurned = (direction) => 1 - direction[0]; // how many times as much may be found once it is turned

function* layersOf(image, made) { // what was taken away, in bands
  const scale = image.data.BYTES_PER_ELEMENT === 2 ? 65535 : 255;
  for (let top = 0; top < image.height; top += BAND) {
    const bottom = Math.min(top + BAND, image.height), less = cut(made, top, bottom, 0, image.width);
    yield { data: cut(image, top, bottom, 0, image.width).map((value, i) => (value - less[i]) / scale), height: bottom - top, width: image.width };
  }
}
function amountOf(image, made) { // its mean
  let sum = 0;
  for (const { data } of layersOf(image, made)) sum += data.reduce((part, value) => part + Math.abs(value), 0);
  return sum / image.data.length;
}
function turnedImage({ data, height, width, ...rest }) { // rows for columns
  const out = new data.constructor(data.length);
  for (let y = 0, from = 0; y < height; y += 1) for (let x = 0; x < width; x += 1, from += 3) {
    const to = (x * height + y) * 3;
    out[to] = data[from];
    out[to + 1] = data[from + 1];
    out[to + 2] = data[from + 2];
  }
  return { ...rest, data: out, height: width, width: height };
}
function foundRain({ amount, differs }, [none, least]) {
  return amount.some((value, i) => (value - differs[i] / none) * 255 > least);
}

function inOrder(looks) { // Map of level -> look: those that find rain, in the order in which they run
  const levels = [...looks.keys()].filter((level) => foundRain(looks.get(level), level === 1 ? FINE : COARSE)).sort((a, b) => a - b);
  if (!levels.length) return [];
  const most = Math.max(...levels.map((level) => looks.get(level).energy));
  const first = levels.find((level) => looks.get(level).own >= OWN ** 2 * most) ?? levels.at(-1); // the finest with a good deal of its own
  return [first, ...levels.filter((level) => level !== first)];
}

// ---- the whole of it ----

/**
 * Restore an image over scales.
 *
 * @param run async (Float32Array of 3×h×w in [0, 1], h, w) -> Float32Array of the same size; h and w are multiples of multipleOf.
 * @param image {data: Uint8Array or Uint16Array of height×width×3, RGB, upright; height; width}.
 * @param options levels: 'auto', or levels in the order in which they run; scales, multipleOf, tile, overlap: from the model's
 *   card; progress({level, fraction}), fractions from 0 to 1, level 0 while levels are tried; onDraft(image): what coarse levels
 *   alone make of the image, reduced, of 16 bits.
 * @returns {data, height, width, levels}: as `image`, and the levels that ran.
 */
export async function restoreLevels(run, image, { levels = 'auto', scales = [1, COARSEST], multipleOf = 1, tile = null, overlap = 0, progress, onDraft } = {}) {
  let { height, width } = image, turned = false;
  const isLarge = height * width > PRECISE, findsTurn = levels === 'auto' && scales[1] > 1;
  const there = listLevels(height, width).filter((level) => level <= scales[1]);
  let wanted = (levels === 'auto' ? there : levels).filter((level) => scales[0] <= level && level <= there.at(-1));
  if (!wanted.length && levels.length) wanted = there.slice(-1);
  let out = { data: new image.data.constructor(image.data.length), height, width };
  const total = wanted.reduce((sum, level) => sum + level ** -2, 0);
  let done = 0;
  const tiling = (level) => ({
    multipleOf, tile, overlap,
    progress: (part) => { done = Math.min(done + (part * level ** -2) / total, 1); progress?.({ level, fraction: done }); },
  });
  const finish = (ran) => { progress?.({ level: 0, fraction: 1 }); return { ...(turned ? turnedImage(out) : out), levels: ran, turned }; };
  const turn = () => {
    [turned, image, height, width] = [true, turnedImage(image), width, height];
    out = { data: new image.data.constructor(image.data.length), height, width };
  };
  if (wanted.length === 1 && wanted[0] === 1) {
    const read = (...at) => cut(image, ...at).map((value) => value / (image.data.BYTES_PER_ELEMENT === 2 ? 65535 : 255));
    await runTiles(run, read, writer(out), height, width, tiling(1));
    const found = findsTurn ? amountOf(image, out) : 0, upright = out;
    const way = found * 255 > FINE[1] ? direction([...layersOf(image, out)]) : [0, 0];
    if (isLevel(way)) {
      turn();
      await runTiles(run, read, writer(out), height, width, tiling(1));
      if (amountOf(image, out) > mostTurned(way) * found) [turned, out] = [false, upright];
    }
    return finish([1]);
  }
  let current = new Current(image, wanted.length ? there : []), looking = new Looking(run, current, multipleOf), looks = new Map();
  if (levels === 'auto') {
    progress?.({ level: 0, fraction: 0 });
    const coarse = wanted.filter((level) => looking.isWhole(level)), tried = [...wanted].sort((a, b) => b - a);
    for (const level of tried) { // coarse ones say where fine ones look
      looks.set(level, await looking.look(level));
      if (onDraft && level === coarse[0]) await draft(run, current, level, looks, { multipleOf, tile, overlap, onDraft });
    }
    wanted = inOrder(looks);
    if (findsTurn && wanted.length && isLevel(looks.get(wanted[0]).direction)) {
      const other = new Current(turnedImage(image), there), around = new Looking(run, other, multipleOf), seen = new Map();
      for (const level of tried) seen.set(level, await around.look(level));
      const order = inOrder(seen), first = looks.get(wanted[0]);
      if (!order.length || seen.get(order[0]).energy <= mostTurned(first.direction) ** 2 * first.energy) {
        turn();
        [current, looking, looks, wanted] = [other, around, seen, order];
      }
    }
  }
  const ran = [];
  for (const [place, level] of wanted.entries()) {
    let look = looks.get(level);
    if (levels === 'auto' && place) { // after the first, another look at what is left
      look = await looking.look(level);
      if (!foundRain(look, FINE) || !runsAlong(look.direction, looks.get(wanted[0]).direction)) continue;
    }
    const window = (...at) => current.window(...at);
    ran.push(level);
    if (level > 1) {
      const layer = look?.layer ?? await findLayer(run, current.reduced.get(level), tiling(level));
      current.subtract(level, layer);
    } else if (place === wanted.length - 1) {
      await runTiles(run, window, writer(out), height, width, tiling(1));
      return finish(ran);
    } else {
      const kept = isLarge ? out : { data: new Uint16Array(image.data.length), height, width };
      current.reduced.clear();
      await runTiles(run, window, writer(kept), height, width, tiling(1));
      current.rebase(kept);
    }
  }
  if (!ran.length) out.data.set(image.data);
  else for (let top = 0, write = writer(out); top < height; top += BAND) {
    const bottom = Math.min(top + BAND, height);
    write(top, bottom, current.window(top, bottom, 0, width));
  }
  return finish(ran);
}

async function findLayer(run, { data, height, width }, tiling) {
  const whole = { data: clipped(data.slice()), height, width }, layer = { data: new Float32Array(data.length), height, width };
  await runTiles(run, (...at) => cut(whole, ...at), (top, bottom, made) => {
    for (let i = 0, to = top * width * 3; i < made.length; i += 1) layer.data[to + i] = whole.data[to + i] - made[i];
  }, height, width, tiling);
  return layer;
}

async function draft(run, current, level, looks, { onDraft, ...tiling }) { // of the image at that level
  const found = inOrder(looks), order = found.length ? found : [level]; // where none is sure, the finest of them is shown
  const { data, height, width } = current.reduced.get(level), base = { data: new Uint16Array(data.length), height, width };
  writer(base)(0, height, data);
  const small = new Current(base, current.levels.filter((one) => one >= level).map((one) => one / level));
  for (const one of order) {
    const given = one === level ? { data: small.window(0, height, 0, width), height, width } : small.reduced.get(one / level);
    small.subtract(one / level, one === order[0] ? looks.get(one).layer : await findLayer(run, given, tiling));
  }
  writer(base)(0, height, small.window(0, height, 0, width));
  await onDraft(base); // what encodes it waits for a turn that a busy worker would not give it before the end
}

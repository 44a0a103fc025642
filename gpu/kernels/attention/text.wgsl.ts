/**
 * Pieces of text of the kernels of attention.
 *
 * A workgroup of 64 threads, 8 x 8, works on tiles of 32 rows (queries, or keys) and 32 columns (the other). Thread
 * (tx, ty) has rows 4 ty to 4 ty + 3 and columns 4 tx to 4 tx + 3 of a tile of scores, and of the result the same rows
 * and features 4 tx to 4 tx + 3 of each chunk of 32. Blocks of 32 rows and 32 features pass through the workgroup's
 * memory: 14 KiB with the tile of probabilities.
 *
 * @module
 */

/** Rows and columns of a tile. */
export const TILE = 32;

/** Features of a result that a workgroup has at most: registers, 16 a chunk of 32. */
const MOST_FEATURES = 128;

/** Traits that the text of a kernel depends on. */
export interface AttentionTraits {
  /** Features of a head. */
  readonly headDim: number;
  /** True if the operands begin at, and have rows and heads of, a multiple of four values. */
  readonly vectors: boolean;
}

/** Chunks of features that a workgroup has, and the workgroups that share a head's. */
export function slicesOf(headDim: number): { chunks: number; slices: number } {
  const slices = Math.max(1, Math.ceil(headDim / MOST_FEATURES));
  const chunks = Math.ceil(headDim / slices / TILE);
  // Not 3, for one kernel less: each takes long to compile.
  return { chunks: chunks === 3 ? 4 : chunks, slices };
}

/** Matrices that a kernel may read by {@linkcode fourText}. */
export type Operand = "q" | "k" | "v" | "dy" | "out";

/** Parameters of all kernels but the one that merges: a shape, and what part of it is bound. */
export const PARAMS = {
  time: "u32",
  keys: "u32",
  capacity: "u32",
  heads: "u32",
  kvHeads: "u32",
  headDim: "u32",
  causal: "u32",
  past: "u32",
  window: "u32",
  // Queries and keys that are bound; of all where several sequences are.
  queryFrom: "u32",
  queryTo: "u32",
  keyFrom: "u32",
  keyTo: "u32",
  // Whether sequences have bounds.
  bounded: "u32",
  // Whether results are added to what is there.
  add: "u32",
  // Workgroups that share the features of a head.
  slices: "u32",
  scale: "f32",
} as const;

/** The binding of a matrix that is read. */
export const operand = ({ vectors }: AttentionTraits) =>
  `matrix ${vectors ? "vec4f" : "f32"}` as const;

/**
 * Declares, with the binding `bounds` (anything where there are none), `seen(z, i)`: the keys `[x, y)` that query i of sequence z sees, of those that are bound; and `there(z)`: the
 * keys that may be looked at. What lies outside may be anything, and is taken for zeros.
 */
export const SEEN = `
fn there(z: u32) -> vec2u {
  var low = p.keyFrom;
  var high = min(p.keyTo, p.keys);
  if (p.bounded != 0u) {
    low = max(low, bounds[p.bounds + 2u * z]);
    high = min(high, bounds[p.bounds + 2u * z + 1u]);
  }
  return vec2u(low, high);
}

fn seen(z: u32, i: u32) -> vec2i {
  let end = i32(p.past + i) + 1;
  var range = vec2i(there(z));
  if (p.window != 0u) { range.x = max(range.x, end - i32(p.window)); }
  if (p.causal != 0u) { range.y = min(range.y, end); }
  return range;
}`;

/**
 * Declares `xFour(z, h, row, f)` for operand x: features f to f + 3 of a query or key of head h, zeros where there is no
 * such row or feature.
 */
export function fourText(name: Operand, { vectors }: AttentionTraits): string {
  const query = name === "q" || name === "dy" || name === "out";
  const four = vectors
    ? `${name}[(at + f) / 4u]`
    : `vec4f(${name}[at + f], ${name}[at + f + 1u], ${name}[at + f + 2u], ${name}[at + f + 3u])`;
  const [low, per, outside] = query
    ? ["p.queryFrom", "p.time", "row >= p.queryTo"]
    : ["p.keyFrom", "p.capacity", "row < range.x || row >= range.y"];
  return `
fn ${name}Four(z: u32, h: u32, row: u32, f: u32) -> vec4f {
  ${query ? "" : "let range = there(z);"}
  if (${outside}) { return vec4f(); }
  let at = p.${name} + (z * ${per} + row - ${low}) * p.${name}Stride + h * p.headDim;
  return select(vec4f(), ${four}, vec4u(f, f + 1u, f + 2u, f + 3u) < vec4u(p.headDim));
}`;
}

/** Vectors of four from a row of a block to the next: one more than there are, which spreads rows over memory banks. */
const PITCH = TILE / 4 + 1;

/** The blocks of 32 rows and 32 features. */
const BLOCKS = ["blockA", "blockB"];

/** Declares the memory that tiles pass through. */
export const MEMORY = `
var<workgroup> blockA: array<vec4f, ${TILE * PITCH}>;
var<workgroup> blockB: array<vec4f, ${TILE * PITCH}>;
var<workgroup> weights: array<vec4f, ${TILE * PITCH}>;
// Below all scores that occur, and no infinity.
const LOWEST = -3e38;`;

/** Repeats a line for each of `0 … n - 1`. */
export function times(n: number, line: (i: number) => string): string {
  return Array.from({ length: n }, (_, i) => line(i)).join("\n");
}

/** Which rows of a tile an operand has: a head and the first of 32 rows. */
export interface TileRows {
  readonly operand: Operand;
  readonly head: string;
  readonly first: string;
}

const fetch = (
  { operand, head, first }: TileRows,
  row: string,
  feature: string,
) => `${operand}Four(z, ${head}, ${first} + ${row}, ${feature});`;

/**
 * Declares `{into}0` to `{into}3`, a thread's part of the tile `rows · colsᵀ`: the products of its four columns with each
 * of its rows.
 */
export function productText(
  into: string,
  { rows, cols }: { rows: TileRows; cols: TileRows },
): string {
  // Columns lie in the order in which the eight threads of a row read them: 0, 4, 8 …, then 1, 5, 9 …
  return `
  ${times(4, (r) => `var ${into}${r} = vec4f();`)}
  for (var f = 0u; f < p.headDim; f += ${TILE}u) {
    workgroupBarrier();
    for (var e = thread; e < ${TILE * TILE / 4}u; e += 64u) {
      let slot = e >> 3u;
      let u = e & 7u;
      blockA[slot * ${PITCH}u + u] = ${fetch(rows, "slot", "f + 4u * u")}
      blockB[slot * ${PITCH}u + u] = ${
    fetch(cols, "(slot & 7u) * 4u + (slot >> 3u)", "f + 4u * u")
  }
    }
    workgroupBarrier();
    let width = min(8u, (p.headDim - f + 3u) / 4u);
    for (var u = 0u; u < width; u += 1u) {
      ${
    times(4, (c) => `let b${c} = blockB[(${8 * c}u + tx) * ${PITCH}u + u];`)
  }
      ${
    times(4, (r) =>
      `let a${r} = blockA[(4u * ty + ${r}u) * ${PITCH}u + u];
      ${into}${r} += vec4f(dot(a${r}, b0), dot(a${r}, b1), dot(a${r}, b2), dot(a${r}, b3));`)
  }
    }
  }`;
}

/** Puts a thread's part of a tile of weights where {@linkcode accumulateText} finds it. */
export function weightsText(from: string): string {
  return times(
    4,
    (r) => `  weights[(4u * ty + ${r}u) * ${PITCH}u + tx] = ${from}${r};`,
  );
}

/** Declares a thread's part of a result, `{name}{row}_{chunk}`. */
export function resultText(name: string, chunks: number): string {
  return times(
    chunks,
    (c) => times(4, (r) => `  var ${name}${r}_${c} = vec4f();`),
  );
}

/** Adds `weights · rows` to a result, for features from `slice` on. Two chunks of features at a time. */
export function accumulateText(
  name: string,
  rows: TileRows,
  chunks: number,
): string {
  const parts: string[] = [];
  for (let from = 0; from < chunks; from += 2) {
    const pair = BLOCKS.slice(0, chunks - from);
    parts.push(`
  workgroupBarrier();
  for (var e = thread; e < ${TILE * TILE / 4}u; e += 64u) {
    let slot = e >> 3u;
    let u = e & 7u;
    ${
      pair.map((block, i) =>
        `${block}[slot * ${PITCH}u + u] = ${
          fetch(rows, "slot", `slice + ${TILE * (from + i)}u + 4u * u`)
        }`
      ).join("\n    ")
    }
  }
  workgroupBarrier();
  for (var u = 0u; u < 8u; u += 1u) {
    ${
      times(4, (r) =>
        `let w${r} = weights[(4u * ty + ${r}u) * ${PITCH}u + u];`)
    }
    for (var e = 0u; e < 4u; e += 1u) {
      ${
      pair.map((block, i) =>
        `let x${i} = ${block}[(4u * u + e) * ${PITCH}u + tx];\n` +
        times(4, (r) => `${name}${r}_${from + i} += w${r}[e] * x${i};`)
      ).join("\n")
    }
    }
  }`);
  }
  return parts.join("");
}

/** Declares `put_{name}`, which stores features of a row that begins at an element. */
export function putText(name: string): string {
  return `
fn put_${name}(at: u32, f: u32, value: vec4f) {
  for (var e = 0u; e < 4u; e += 1u) {
    if (f + e < p.headDim) {
      var sum = value[e];
      if (p.add == 1u) { sum += ${name}[at + f + e]; }
      ${name}[at + f + e] = sum;
    }
  }
}`;
}

/**
 * Stores a result where `place` says that the row begins, for rows from `first` on below `end`. It passes through the
 * workgroup's memory, so that neighbours are stored together, and the text is short: there are compilers that take
 * seconds for a long one.
 */
export function storeText(
  { name, result, chunks, first, end, place }: {
    name: string;
    result: string;
    chunks: number;
    first: string;
    end: string;
    place: (row: string) => string;
  },
): string {
  const parts: string[] = [];
  for (let from = 0; from < chunks; from += 2) {
    const pair = BLOCKS.slice(0, chunks - from);
    const each = (line: (block: string, i: number) => string) =>
      pair.map(line).join("\n");
    parts.push(`
  workgroupBarrier();
  ${
      each((block, i) =>
        times(4, (r) =>
          `${block}[(4u * ty + ${r}u) * ${PITCH}u + tx] = ${result}${r}_${
            from + i
          };`)
      )
    }
  workgroupBarrier();
  for (var e = thread; e < ${TILE * TILE / 4}u; e += 64u) {
    let row = ${first} + (e >> 3u);
    if (row < ${end}) {
      let at = ${place("row")};
      let f = slice + 4u * (e & 7u);
      ${
      each((block, i) =>
        `put_${name}(at, f + ${
          TILE * (from + i)
        }u, ${block}[(e >> 3u) * ${PITCH}u + (e & 7u)]);`
      )
    }
    }
  }`);
  }
  return parts.join("");
}

/** The start of a body: x is tiles times slices, y heads, z sequences. */
export function mainText(chunks: number): string {
  return `
  let tx = thread & 7u;
  let ty = thread >> 3u;
  let z = group.z;
  let tile = group.x / p.slices * ${TILE}u;
  let slice = group.x % p.slices * ${chunks * TILE}u;`;
}

/**
 * Exact SVD on the WASM device. The kernels: `wasm/assembly/linalg/svd.ts`, `wasm/assembly/linalg/svd_block.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import type { Kernels } from "../runtime/loader.ts";
import type { WasmMemory } from "../buffers.ts";

/** Vectors up to which one thread turns them pair by pair; beyond, panels are turned by matrix products. */
const SMALL = 20;

/** Vectors of a panel, bytes of one of its rows, bytes of scratch memory that a thread turns a pair with. */
const PANEL = 16;
const ROW = PANEL * 8;
const PAIR_SCRATCH = 3 * 32 * 256 + 4 * 256;

/** Sweeps after which a matrix is as orthogonal as it gets; usual are 2 or 3. */
const MAX_SWEEPS = 30;

/** Rotations that are recorded before they are applied: more than a matrix has columns. */
const ROTATIONS = 16384;

/** Bytes of a row's slice that a part applies rotations to. */
const SLICE = 512;

/** Vectors that the kernels work on: the shorter side's vectors, `k` of `len` elements. */
interface Vectors {
  readonly k: number;
  readonly len: number;
  readonly address: number;
  /** Bytes to the next vector. */
  readonly down: number;
  /** Bytes to the next element. */
  readonly right: number;
}

/** Orthogonal vectors: those of the matrix turned, with the turns below. */
interface Turned {
  /** Address of vector `j`. */
  readonly at: (j: number) => number;
  /** Bytes between its elements. */
  readonly step: number;
  /** Squared lengths. */
  readonly norms: Float64Array;
  /** Free memory: 12 bytes a vector. */
  readonly list: number;
}

function svd(
  memory: WasmMemory,
  args: OperationArgs<"svd">,
): void {
  const k = Math.min(args.a.rows, args.a.cols);
  if (k === 0) return;
  const { a, u, s, vt } = args;
  const { kernels } = memory;
  const tall = a.rows >= a.cols;
  const len = Math.max(a.rows, a.cols);
  const address = memory.origin(a);
  const stride = a.stride * 4;
  const vectors = tall
    ? { k, len, address, down: 4, right: stride }
    : { k, len, address, down: stride, right: 4 };
  const { at, step, norms, list } = k <= SMALL
    ? turnSmall(kernels, vectors)
    : turnPanels(memory, vectors);

  const order = Array.from(norms.keys())
    .sort((i, j) => norms[j] - norms[i] || i - j).slice(0, k);
  // Values below the rounding of the largest are zero.
  const floor = Math.sqrt(norms[order[0]]) * len * Number.EPSILON;
  const sigmas = list + Math.ceil(k / 2) * 8;
  const { u32, f32, f64 } = kernels;
  const values = memory.origin(s) / 4;
  order.forEach((from, j) => {
    const length = Math.sqrt(norms[from]);
    const sigma = length <= floor ? 0 : length;
    u32[list / 4 + j] = at(from);
    f64[sigmas / 8 + j] = sigma;
    f32[values + j] = sigma;
  });
  const left = { at: memory.origin(u), right: u.stride * 4, down: 4 };
  const right = { at: memory.origin(vt), right: 4, down: vt.stride * 4 };
  const [long, short] = tall ? [left, right] : [right, left];
  kernels.run("svdStore", memory.parts(k * len, 32768), {
    ...{ list, sigmas, step, len, k },
    ...{ long: long.at, longRight: long.right, longDown: long.down },
    ...{ short: short.at, shortRight: short.right, shortDown: short.down },
  });
}

function turnSmall(
  kernels: Kernels,
  { k, len, address, down, right }: Vectors,
): Turned {
  const line = (even(len) + even(k)) * 8;
  const work = kernels.scratch(k * line + even(k) * 8 + 12 * (k + 1));
  const norms = work + k * line;
  kernels.steps.jacobi(address, down, right, k, len, work, line, norms);
  return {
    at: (j) => work + j * line,
    step: 8,
    norms: Float64Array.from(
      { length: k },
      (_, j) => kernels.f64[norms / 8 + j],
    ),
    list: norms + even(k) * 8,
  };
}

/** Hands out addresses from one allocation, on cache lines. */
class Layout {
  /** Bytes handed out. */
  bytes = 0;

  /** Offset of `bytes` more. */
  take(bytes: number): number {
    const at = this.bytes;
    this.bytes += Math.ceil(bytes / 64) * 64;
    return at;
  }
}

function turnPanels(memory: WasmMemory, vectors: Vectors): Turned {
  const { kernels } = memory;
  const { threads } = kernels;
  const { k, len, address, down, right } = vectors;
  const panels = Math.ceil(k / PANEL);
  const rows = Math.ceil((even(len) + k) / 4) * 4;
  const size = rows * ROW;
  // A cache line more than it takes: rows a power of two apart would share few places in the cache.
  const line = panels * ROW + 64;
  const layout = new Layout();
  const offsets = {
    loaded: layout.take(panels * size),
    turned: layout.take(panels * size),
    gram: layout.take(panels * PANEL * line),
    basis: layout.take(k * line),
    d: layout.take(line),
    e: layout.take(line),
    factors: layout.take(line),
    spare: layout.take(line),
    rotations: layout.take(ROTATIONS * 24),
    word: layout.take(8),
    flags: layout.take(threads * 4),
    pairs: layout.take(panels * 8),
    list: layout.take(12 * (k + 1)),
    scratch: layout.take(threads * PAIR_SCRATCH),
  };
  const base = kernels.scratch(layout.bytes);
  const at = Object.fromEntries(
    Object.entries(offsets).map(([name, offset]) => [name, base + offset]),
  ) as typeof offsets;

  const parts = memory.parts(k * k * len, 1 << 18);
  const loaded = { panels: at.loaded, size, count: panels, len };
  kernels.run("svdLoad", parts, { ...loaded, a: address, down, right, k });
  const g = { origin: at.gram, stride: line };
  kernels.run("svdGram", parts, { ...loaded, g });
  const order = eigenvectors(memory, at, { k, line, parts });
  kernels.u32.set(order, at.list / 4);
  kernels.run("svdTurn", parts, {
    ...{ ...loaded, turned: at.turned, k },
    z: { origin: at.basis, stride: line },
    order: at.list,
  });

  const measure = (): Float64Array => {
    kernels.run("svdNorms", memory.parts(k * len, 65536), {
      ...{ ...loaded, panels: at.turned, out: at.d },
    });
    return Float64Array.from(
      { length: panels * PANEL },
      (_, j) => kernels.f64[at.d / 8 + j],
    );
  };
  let norms = measure();
  const noise = len * Number.EPSILON;
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    kernels.f64[at.word / 8] = norms.reduce((a, b) => Math.max(a, b)) *
      noise * noise;
    kernels.u32.fill(0, at.flags / 4, at.flags / 4 + threads);
    for (const round of tournament(panels)) {
      kernels.u32.set(round.flat(), at.pairs / 4);
      kernels.run("svdRound", Math.min(4 * threads, round.length), {
        ...{ panels: at.turned, size, len, rows },
        ...{ pairs: at.pairs, count: round.length },
        ...{ nothing: at.word, flags: at.flags },
        ...{ scratch: at.scratch, scratchBytes: PAIR_SCRATCH },
      });
    }
    norms = measure();
    const flags = kernels.u32.subarray(at.flags / 4, at.flags / 4 + threads);
    if (!flags.includes(1)) break;
  }
  return {
    at: (j) => at.turned + Math.floor(j / PANEL) * size + (j % PANEL) * 8,
    step: ROW,
    norms,
    list: at.list,
  };
}

/** Puts the eigenvectors of the Gram matrix in the rows of `basis`; returns their order, the largest value first. */
function eigenvectors(
  { kernels }: WasmMemory,
  at: Readonly<
    Record<
      "gram" | "basis" | "d" | "e" | "factors" | "spare" | "rotations" | "word",
      number
    >
  >,
  { k, line, parts }: { k: number; line: number; parts: number },
): number[] {
  const { steps } = kernels;
  steps.tridiagonalize(at.gram, k, line, at.d, at.e, at.factors, at.spare);
  const { gram: a, factors, basis } = at;
  kernels.run("svdBasis", parts, { a, n: k, line, factors, out: basis });
  kernels.u32[at.word / 4] = 0;
  while (kernels.u32[at.word / 4] < k) {
    const count = steps.tridiagonalQl(
      at.d,
      at.e,
      k,
      at.rotations,
      ROTATIONS,
      at.word,
    );
    kernels.run("svdRotate", k < 256 ? 1 : Math.ceil(line / SLICE), {
      ...{ z: basis, line, rotations: at.rotations, count },
    });
  }
  const values = Array.from(
    { length: k },
    (_, j) => kernels.f64[at.d / 8 + j],
  );
  return Array.from(values.keys()).sort((i, j) => values[j] - values[i]);
}

/** Rounds in which each of `n` players meets every other once, all games of a round at the same time. */
function tournament(n: number): [number, number][][] {
  const seats = n + (n % 2);
  const circle = Array.from({ length: seats - 1 }, (_, i) => i + 1);
  return circle.map((_, shift) => {
    const table = [
      0,
      ...circle.slice(shift),
      ...circle.slice(0, shift),
    ];
    const games: [number, number][] = [];
    for (let i = 0; i < seats / 2; i++) {
      const [x, y] = [table[i], table[seats - 1 - i]];
      if (Math.max(x, y) < n) games.push([Math.min(x, y), Math.max(x, y)]);
    }
    return games;
  });
}

function even(n: number): number {
  return n + (n % 2);
}

/** These operations, in a memory of the device. */
export const svdOperations = {
  svd,
} satisfies MemoryOperations<WasmMemory>;

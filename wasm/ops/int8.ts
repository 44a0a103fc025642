/**
 * Products with a quantised matrix in 8-bit integers on the WASM device. The kernels: `wasm/assembly/gemm/int8.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import { gemmQuantizedSizes } from "../../src/device/contract/gemm.ts";
import { mat } from "../../src/device/buffer.ts";
import { groupWidth, ROW_BLOCK, takenInInt8 } from "../../src/device/int8.ts";
import { FEW_ROWS, gemm } from "./gemm.ts";
import { place } from "../words.ts";
import { gemmQuantized } from "./gemm_quant.ts";
import type { WasmMemory } from "../buffers.ts";

/** Bytes of packed codes that should stay in a thread's L2 cache. */
const PACKED_BYTES = 1 << 19;

/** Bytes of the factors of a strip's group, and of a partial tile. */
const FACTOR_BYTES = 64;
const TILE_BYTES = 192;

/** Rows of a strip. */
const STRIP_ROWS = 5;

type Args = OperationArgs<"gemmInt8">;

/**
 * Rounds of the contest of the two micro-kernels, and milliseconds of one. An engine compiles them again while they run, and a
 * machine may be busy: the rounds come before as many products.
 */
const ROUNDS = 6;
const ROUND = 3;

/** Least times of sums of 32 bits and of 16, and the rounds that made them, by the kernels of a process. */
const CONTESTS = new WeakMap<
  WasmMemory["kernels"],
  { readonly best: [long: number, short: number]; rounds: number }
>();

let forced: boolean | undefined;

/** Has products take sums of 16 bits, or of 32, whatever is faster: for tests. Results are the same to the bit. */
export function forceSums(short?: boolean): void {
  forced = short;
}

/** Word for a kernel: whether sums are of 16 bits. A processor with a dot product of four bytes is faster with 32. */
function sumsWord(memory: WasmMemory): number {
  if (forced !== undefined) return forced ? 1 : 0;
  const { kernels } = memory;
  let contest = CONTESTS.get(kernels);
  if (!contest) {
    contest = { best: [Infinity, Infinity], rounds: 0 };
    CONTESTS.set(kernels, contest);
  }
  const { best } = contest;
  if (contest.rounds < ROUNDS) {
    contest.rounds++;
    compete(memory, best);
  }
  return best[1] <= best[0] ? 1 : 0;
}

/** Takes the times of a small product with sums of 32 bits and of 16. */
function compete(memory: WasmMemory, best: [number, number]): void {
  const { kernels } = memory;
  const [m, n, k, bits, group] = [40, 64, 256, 4, 64];
  const [x, strips, factors, codes, scales, out] = [
    ...[m * k * 4, m * k, m / STRIP_ROWS * (k / group) * FACTOR_BYTES],
    ...[n * k * bits / 8, n * (k / group) * 4, m * n * 4],
  ].map((bytes) => {
    const buffer = memory.alloc(bytes);
    const at = memory.address(buffer);
    kernels.u8.fill(0, at, at + bytes);
    return buffer;
  });
  kernels.run("int8Rows", 1, {
    ...{ m, k, x: { origin: memory.address(x), stride: k * 4 }, group },
    strips: memory.address(strips),
    factors: memory.address(factors),
    ...{ alpha: 1, middle: 1 << (bits - 1) },
  });
  const panelBytes = k * 8 + k / group * 64;
  const scratchBytes = TILE_BYTES + k + n / 8 * panelBytes;
  const run = (short: number): number => {
    const began = performance.now();
    for (let i = 0; i < 4; i++) {
      kernels.run("int8Forward", 1, {
        ...{ m, n, k },
        strips: memory.address(strips),
        factors: memory.address(factors),
        codes: memory.address(codes),
        rowBytes: k * bits / 8,
        scales: memory.address(scales),
        biases: memory.address(scales),
        ...{ bits, group, block: n },
        scratch: memory.scratch(scratchBytes),
        scratchBytes,
        c: place(memory, mat(out, m, n)),
        add: place(memory, undefined),
        ...{ beta: 0, short },
      });
    }
    return performance.now() - began;
  };
  const until = performance.now() + ROUND;
  do {
    for (const short of [0, 1]) best[short] = Math.min(best[short], run(short));
  } while (performance.now() < until);
  for (const buffer of [x, strips, factors, codes, scales, out]) {
    buffer[Symbol.dispose]();
  }
}

function gemmInt8(memory: WasmMemory, args: Args): void {
  const { m, n, k } = gemmQuantizedSizes(args);
  if (!takenInInt8(args)) return gemmQuantized(memory, args);
  const block = groupWidth(args.q);
  if (m === 0 || n === 0) return;
  if (!args.transQ) return backward(memory, args, { m, n: k, k: n, block });
  if (m <= FEW_ROWS) return few(memory, args, { m, n, k, block });
  forward(memory, args, { m, n, k, block });
}

interface Sizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly block: number;
}

/** The product with few rows, from codes as they are stored. */
function few(
  memory: WasmMemory,
  { a, q, c, alpha = 1, beta = 0, add }: Args,
  { m, n, k, block }: Sizes,
): void {
  const { kernels } = memory;
  const { bits } = q.spec;
  const groups = Math.ceil(k / block);
  const scratchBytes =
    Math.ceil((m * (k + groups * 8 + 16) + 4 * k + 64) / 64) * 64;
  kernels.run(
    "int8Gemv",
    Math.min(kernels.threads, memory.parts(m * n * k, 1 << 17)),
    {
      ...{ m, n, k, a: place(memory, a) },
      codes: memory.address(q.codes),
      rowBytes: Math.ceil(k * bits / 8),
      scales: memory.address(q.scales),
      biases: memory.address(q.biases!),
      ...{ bits, group: block },
      scratch: memory.scratch(scratchBytes),
      scratchBytes,
      c: place(memory, c),
      add: place(memory, beta ? add : undefined),
      ...{ alpha, beta },
    },
  );
}

function forward(
  memory: WasmMemory,
  { a, q, c, alpha = 1, beta = 0, add }: Args,
  { m, n, k, block }: Sizes,
): void {
  const { kernels } = memory;
  const short = sumsWord(memory);
  const { bits } = q.spec;
  const groups = Math.ceil(k / block);
  const rows = Math.ceil(m / STRIP_ROWS);
  using strips = memory.alloc(rows * k * STRIP_ROWS);
  using factors = memory.alloc(rows * groups * FACTOR_BYTES);
  kernels.run("int8Rows", memory.parts(m * k, 32768), {
    ...{ m, k, x: place(memory, a), group: block },
    strips: memory.address(strips),
    factors: memory.address(factors),
    ...{ alpha, middle: short << (bits - 1) },
  });
  const panelBytes = k * 8 + groups * 64;
  const columns = 8 * Math.max(1, Math.floor(PACKED_BYTES / panelBytes));
  const scratchBytes = TILE_BYTES + k +
    Math.min(columns, Math.ceil(n / 8) * 8) / 8 * panelBytes;
  const scratch = memory.scratch(scratchBytes);
  kernels.run("int8Forward", partsOf(memory, m * n * k, n), {
    ...{ m, n, k },
    strips: memory.address(strips),
    factors: memory.address(factors),
    codes: memory.address(q.codes),
    rowBytes: Math.ceil(k * bits / 8),
    scales: memory.address(q.scales),
    biases: memory.address(q.biases!),
    ...{ bits, group: block, block: columns, scratch, scratchBytes },
    c: place(memory, c),
    add: place(memory, beta ? add : undefined),
    ...{ beta, short },
  });
}

/** `c = a * q`: sums over the rows of `q`, whose scales are multiplied into `a`. */
function backward(
  memory: WasmMemory,
  { a, q, c, alpha = 1, beta = 0, add }: Args,
  { m, n, k, block }: Sizes,
): void {
  const { kernels } = memory;
  const { bits } = q.spec;
  const short = sumsWord(memory);
  const groups = Math.ceil(k / block);
  const blocks = Math.ceil(n / ROW_BLOCK);
  const strips = Math.ceil(m / STRIP_ROWS);
  const middle = 1 << (bits - 1);
  using units = memory.alloc(strips * STRIP_ROWS * n * 2);
  using mosts = memory.alloc(strips * STRIP_ROWS * blocks * 4);
  using bounds = memory.alloc(strips * STRIP_ROWS * 4);
  using scaleUnits = memory.alloc(groups * n * 2);
  using scaleMosts = memory.alloc(groups * blocks * 4);
  using middles = memory.alloc(n * groups * 4);
  using sums = memory.alloc(strips * STRIP_ROWS * groups * 4);
  kernels.run("int8Fold", memory.parts(n * groups, 8192), {
    ...{ n, groups, middle },
    scales: memory.address(q.scales),
    biases: memory.address(q.biases!),
    units: memory.address(scaleUnits),
    mosts: memory.address(scaleMosts),
    middles: memory.address(middles),
  });
  gemm(memory, {
    a,
    b: mat(middles, n, groups),
    c: mat(sums, m, groups),
    alpha,
  });
  kernels.run("int8Units", memory.parts(m * n, 32768), {
    ...{ m, rows: strips * STRIP_ROWS, n, x: place(memory, a), alpha },
    units: memory.address(units),
    mosts: memory.address(mosts),
    sums: memory.address(bounds),
  });
  const turn = Math.max(1, Math.floor(PACKED_BYTES / (block * n)));
  const scratchBytes = Math.ceil(
    (TILE_BYTES + 64 + n * STRIP_ROWS + blocks * FACTOR_BYTES + 4 * block +
      Math.min(turn, groups) * block * n + 64) / 64,
  ) * 64;
  kernels.run(
    "int8Backward",
    Math.min(partsOf(memory, m * n * k, k), groups),
    {
      ...{ m, n, k },
      units: memory.address(units),
      mosts: memory.address(mosts),
      scaleUnits: memory.address(scaleUnits),
      scaleMosts: memory.address(scaleMosts),
      plain: memory.address(sums),
      codes: memory.address(q.codes),
      rowBytes: Math.ceil(k * bits / 8),
      ...{ bits, group: block, middle, turn },
      scratch: memory.scratch(scratchBytes),
      scratchBytes,
      c: place(memory, c),
      add: place(memory, beta ? add : undefined),
      beta,
      sums: short ? memory.address(bounds) : 0,
    },
  );
}

/** As many parts for each thread, of some panels at least. */
function partsOf(memory: WasmMemory, work: number, columns: number): number {
  const { threads } = memory.kernels;
  const rounds = Math.max(1, Math.floor(columns / (192 * threads)));
  return Math.min(memory.parts(work, 1 << 20), threads * rounds);
}

/** These operations, in a memory of the device. */
export const int8Operations = {
  gemmInt8,
} satisfies MemoryOperations<WasmMemory>;

import assert from "node:assert/strict";
import type { Device } from "../../../src/device/device.ts";
import { openDevice } from "../../../src/backend/open.ts";
import type { Metric } from "../../../src/loftq/metric.ts";
import { biases, quantize, start } from "../../../src/api/qalora.ts";
import { codesOf } from "../../../src/quant/pack.ts";
import { dequantize } from "../../../src/api/matrices.ts";
import { matrix } from "../../../src/tensor/matrix.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { floats, golden, u8 } from "../../helpers/golden.ts";
import { product } from "../../unit/linalg/matrices.ts";
import { outputError } from "../../unit/qalora/inputs.ts";
import { nearNormal } from "../loftq/data.ts";

interface Base {
  bits: number;
  codes: string;
  scales: string;
  biases: string;
}

interface Golden {
  hqq: (Base & { size: number; settled: number[] })[];
  gptq: (Base & { block: number; order: "none" | "group"; error: number })[];
  starts: {
    kind: "identity" | "diag" | "full";
    block: number;
    constants: string;
    lowRank: string;
    plain: number;
    full: number;
    rank2: number;
  }[];
}

const [ROWS, COLS, TOKENS] = [24, 160, 320];
const rows = golden<Golden>(import.meta, "qalora.json");
const devices = [await openDevice("wasm"), await openDevice("reference")];

/** Each row on each device. */
function* onEach<T>(rows: T[]): Generator<[T, Device]> {
  for (const device of devices) {
    for (const row of rows) yield [row, device];
  }
}

/** `E[x xᵀ]` as make.py has it. */
const moments = (() => {
  const low = product(nearNormal(TOKENS, 8, 42), nearNormal(8, COLS, 43));
  const x = nearNormal(TOKENS, COLS, 41).data.map((own, i) =>
    (own + low.data[i]) * 2 ** ((i % COLS) * 7 % 5 - 2)
  );
  const transposed = matrix(COLS, TOKENS);
  x.forEach((v, i) =>
    transposed.data[(i % COLS) * TOKENS + Math.floor(i / COLS)] = v
  );
  return product(transposed, matrix(TOKENS, COLS, x), 1 / TOKENS).data;
})();
const full: Metric = { kind: "full", moments };

for (const [row, device] of onEach(rows.hqq)) {
  Deno.test(`hqq, ${row.bits} bits, weights of size ${row.size} on ${device.name}: the package's groups`, async () => {
    const w = nearNormal(16, 96, 31);
    const scaled = matrix(16, 96, w.data.map((x) => x * Math.fround(row.size)));
    const base = await quantize(scaled, {
      format: `int${row.bits}` as "int4",
      block: 64,
      quantizer: "hqq",
      device,
    });
    const scales = floats(row.scales);
    assertAllClose(base.scales, scales, { rtol: 1e-6, what: "scales" });
    const settled = row.settled.filter((x) => x === 1).length;
    assert.ok(settled > 0.5 * row.settled.length, `${settled} settled`);
    const wanted = floats(row.biases);
    const kept = (x: ArrayLike<number>) =>
      Array.from(x).filter((_, i) => row.settled[i] === 1);
    assertAllClose(kept(base.biases!), kept(wanted), {
      atol: 1e-4 * Math.max(...scales),
      what: "biases",
    });
    const ofSettled = (codes: Uint8Array) =>
      codes.filter((_, i) =>
        row.settled[2 * Math.floor(i / 96) + (i % 96 < 64 ? 0 : 1)] === 1
      );
    assert.deepEqual(ofSettled(codesOf(base)), ofSettled(u8(row.codes)));
  });
}

for (const [row, device] of onEach(rows.gptq)) {
  Deno.test(`gptq, ${row.bits} bits in groups of ${row.block}, order ${row.order} on ${device.name}: NumPy's brain surgery`, async () => {
    const w = nearNormal(ROWS, COLS, 44);
    const base = await quantize(w, {
      format: `int${row.bits}` as "int4",
      block: row.block,
      quantizer: "gptq",
      order: row.order,
      metric: full,
      device,
    });
    const wanted = u8(row.codes);
    const other = codesOf(base).filter((code, i) => code !== wanted[i]);
    assert.ok(other.length <= 0.01 * wanted.length, `${other.length} differ`);
    const q = await dequantize(base, { device });
    assertAllClose([outputError(w, q, moments)], [row.error], { rtol: 1e-3 });
  });
}

for (const [row, device] of onEach(rows.starts)) {
  Deno.test(`${row.kind} metric, groups of ${row.block} on ${device.name}: NumPy's least squares`, async () => {
    const { kind, block } = row;
    const metric: Metric = kind === "identity"
      ? { kind }
      : kind === "diag"
      ? { kind, moments: moments.filter((_, i) => i % (COLS + 1) === 0) }
      : full;
    const w = nearNormal(ROWS, COLS, 45);
    const base = await quantize(w, { format: "int2", block, device });
    const fitted = await biases(w, base, { metric, device });
    const constants = floats(row.constants);
    assertAllClose(
      fitted.biases!.map((x, i) => x - base.biases![i]),
      constants,
      { atol: 1e-4 },
    );
    const found = await start(w, {
      format: "int2",
      block,
      rank: 2,
      alpha: 8,
      metric,
      device,
    });
    assert.deepEqual(found.backbone, base);
    assertAllClose(
      product(found.b, found.a, found.scaling).data,
      floats(row.lowRank),
      { atol: 1e-4 },
    );
    assertAllClose([found.plainOutputError ?? found.plainError], [row.plain], {
      rtol: 1e-5,
    });
    assertAllClose([found.outputError ?? found.error], [row.rank2], {
      rtol: 1e-5,
    });
  });
}

import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { BASE_QUANTIZERS, quantize } from "../../../src/api/qalora.ts";
import { codesOf } from "../../../src/quant/pack.ts";
import {
  dequantize,
  quantize as quantizeMatrix,
} from "../../../src/api/matrices.ts";
import { matrix, relativeError } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { normalMatrix } from "../../helpers/inputs.ts";
import { correlated, outputError } from "./inputs.ts";

const device = await openDevice("wasm");
const [ROWS, COLS] = [20, 150];
const weight = normalMatrix(new Random(1), ROWS, COLS);
const moments = correlated(new Random(2), COLS);
const full = { kind: "full", moments } as const;
const diag = {
  kind: "diag",
  moments: moments.filter((_, i) => i % (COLS + 1) === 0),
} as const;

Deno.test("minmax and mse are the device's scale rules, mse by the inputs' moments", async () => {
  const options = { format: "int3", block: 64, device } as const;
  assert.deepEqual(
    await quantize(weight, options),
    await quantizeMatrix(weight, { ...options, scale: "minmax" }),
  );
  for (const metric of [undefined, diag, full]) {
    assert.deepEqual(
      await quantize(weight, { ...options, quantizer: "mse", metric }),
      await quantizeMatrix(weight, {
        ...options,
        scale: "mse",
        weights: metric && diag.moments,
      }),
    );
  }
});

Deno.test("every quantiser: any shape, short last groups, constant groups", async () => {
  for (const quantizer of BASE_QUANTIZERS) {
    for (const [rows, cols, block] of [[1, 1, 32], [3, 33, 32], [2, 7, 0]]) {
      const w = normalMatrix(new Random(3), rows, cols);
      w.data.fill(-0.7, 0, Math.min(block || cols, cols));
      const base = await quantize(w, {
        format: "int2",
        block,
        quantizer,
        metric: {
          kind: "full",
          moments: correlated(new Random(4), cols),
        },
        device,
      });
      assert.deepEqual(
        [base.rows, base.cols, base.block, base.format],
        [rows, cols, block, "int2"],
      );
      assert.equal(base.scales[0], 0);
      assert.equal(base.biases![0], Math.fround(-0.7));
      const q = await dequantize(base, { device });
      assert.equal(q.data[0], w.data[0]);
      assert.ok(relativeError(w, q) < 0.7, `${quantizer} ${rows} x ${cols}`);
    }
  }
});

Deno.test("each quantiser is better than min/max in what it looks at", async () => {
  for (const format of ["int4", "int3", "int2"] as const) {
    const errors = new Map<string, number>();
    const weights = new Map<string, number>();
    for (const quantizer of BASE_QUANTIZERS) {
      const base = await quantize(weight, {
        format,
        block: 32,
        quantizer,
        metric: full,
        device,
      });
      const q = await dequantize(base, { device });
      errors.set(quantizer, outputError(weight, q, moments));
      weights.set(quantizer, relativeError(weight, q));
    }
    for (const quantizer of ["mse", "hqq"]) {
      assert.ok(
        weights.get(quantizer)! < weights.get("minmax")!,
        `${format} ${quantizer}`,
      );
    }
    const { minmax, gptq } = Object.fromEntries(errors);
    assert.ok(gptq < 0.7 * minmax, `${format}: ${gptq} against ${minmax}`);
  }
});

Deno.test("GPTQ's order of groups lowers the error where inputs differ in size", async () => {
  const sized = moments.map((h, i) =>
    h * 2 ** (Math.floor(i / COLS) % 7) * 2 ** (i % COLS % 7)
  );
  const errors: number[] = [];
  for (const order of ["none", "group"] as const) {
    const base = await quantize(weight, {
      format: "int3",
      block: 32,
      quantizer: "gptq",
      order,
      metric: { kind: "full", moments: sized },
      device,
    });
    const q = await dequantize(base, { device });
    errors.push(outputError(weight, q, sized));
  }
  assert.ok(errors[1] < 0.97 * errors[0], `${errors}`);
});

Deno.test("GPTQ rounds the weights of an input that never was for themselves", async () => {
  const dead = moments.slice();
  for (let j = 0; j < COLS; j++) dead[5 * COLS + j] = dead[j * COLS + 5] = 0;
  for (const damping of [undefined, 0]) {
    const base = await quantize(weight, {
      format: "int4",
      block: 32,
      quantizer: "gptq",
      metric: { kind: "full", moments: dead, damping },
      device,
    });
    const q = await dequantize(base, { device });
    for (let r = 0; r < ROWS; r++) {
      const at = r * COLS + 5;
      const step = base.scales[r * 5];
      const [low, high] = [
        base.biases![r * 5],
        base.biases![r * 5] + 15 * step,
      ];
      const wanted = Math.min(Math.max(weight.data[at], low), high);
      assert.ok(Math.abs(q.data[at] - wanted) <= 0.501 * step, `row ${r}`);
    }
  }
});

Deno.test("GPTQ raises the damping for moments of few inputs", async () => {
  const x = normalMatrix(new Random(5), 1, COLS).data;
  const few = moments.map((_, i) => x[Math.floor(i / COLS)] * x[i % COLS]);
  const base = await quantize(weight, {
    format: "int2",
    block: 32,
    quantizer: "gptq",
    metric: { kind: "full", moments: few, damping: 0 },
    device,
  });
  const plain = await quantize(weight, { format: "int2", block: 32, device });
  const error = async (b: typeof base) =>
    outputError(weight, await dequantize(b, { device }), few);
  assert.ok(await error(base) < 0.3 * await error(plain));
  assert.ok(codesOf(base).every((code) => code < 4));
});

Deno.test("what cannot be quantised is refused by name", async () => {
  const broken = matrix(ROWS, COLS, weight.data.slice());
  broken.data[COLS + 3] = NaN;
  const wide = matrix(1, 2, Float32Array.of(-3e38, 3e38));
  const indefinite = moments.slice();
  indefinite[1] = indefinite[COLS] = 1e4;
  const options = { format: "int4", device, name: "q_proj" } as const;
  const gptq = { ...options, quantizer: "gptq" } as const;
  const before = device.memory.bytes;
  const cases: [Promise<unknown>, string, string][] = [
    [
      quantize(broken, options),
      "RangeError",
      "Cannot quantize q_proj: wanted finite values, got NaN at row 1, column 3",
    ],
    [
      quantize(wide, options),
      "RangeError",
      "Cannot quantize q_proj: the range of row 0, group 0 overflows f32",
    ],
    [
      quantize(weight, { ...options, format: "nf4" }),
      "TypeError",
      "Cannot use nf4 for q_proj: QA-LoRA wants an affine format in groups along the inputs (int5, int4, int3, int2)",
    ],
    [
      quantize(weight, { ...options, format: "clip4" }),
      "TypeError",
      "Cannot use clip4 for q_proj: QA-LoRA wants an affine format in groups along the inputs (int5, int4, int3, int2)",
    ],
    [
      quantize(weight, { ...options, block: 1.5 }),
      "RangeError",
      "Cannot quantize q_proj: block must be a whole number >= 0, got 1.5",
    ],
    [
      quantize(weight, { ...options, quantizer: "awq" as "mse" }),
      "RangeError",
      'Cannot quantize q_proj: wanted one of the quantizers minmax, mse, hqq, gptq, got "awq"',
    ],
    [
      quantize(weight, { ...gptq, metric: diag }),
      "TypeError",
      "Cannot use GPTQ for q_proj: wanted a full metric, got diag",
    ],
    [
      quantize(weight, { ...gptq, metric: full, order: "act" as "none" }),
      "RangeError",
      'Cannot use GPTQ for q_proj: order must be "none" or "group", got "act"; in any other a group\'s inputs would not lie together, and no adapter on groups could be merged',
    ],
    [
      quantize(weight, {
        ...gptq,
        metric: { kind: "full", moments: indefinite },
      }),
      "RangeError",
      "Cannot use GPTQ for q_proj: its moments are not positive definite, even with damping 1",
    ],
    [
      quantize(weight, {
        ...options,
        quantizer: "mse",
        metric: { kind: "diag", moments: new Float32Array(3) },
      }),
      "TypeError",
      "Cannot use the diag metric for q_proj: wanted 150 moments for 150 inputs, got 3",
    ],
  ];
  for (const [promise, name, message] of cases) {
    await assert.rejects(promise, { name, message });
  }
  assert.equal(device.memory.bytes, before);
});

import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import type { LoftqResult } from "../../../src/loftq/options.ts";
import { layer, merge, quantize, start } from "../../../src/api/qalora.ts";
import { dequantize } from "../../../src/api/matrices.ts";
import { relativeError } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { normalMatrix } from "../../helpers/inputs.ts";
import { correlated, outputError } from "./inputs.ts";

const device = await openDevice("wasm");
const [ROWS, COLS] = [40, 100];
const weight = normalMatrix(new Random(1), ROWS, COLS);
const moments = correlated(new Random(2), COLS);
// Undamped, so that the errors told are those that the test measures.
const metric = { kind: "full", moments, damping: 0 } as const;
const options = { format: "int2", block: 16, rank: 3, device } as const;

/** Errors of what was returned, merged. */
async function errorsOf(found: LoftqResult): Promise<[number, number]> {
  const merged = merge(found.backbone, found);
  const q = await dequantize(merged, { device });
  return [relativeError(weight, q), outputError(weight, q, moments)];
}

Deno.test("the start lowers the error, which is what is told, and merges into it", async () => {
  for (const scaled of [{}, { alpha: 7 }, { alpha: 2, rslora: true }]) {
    const found = await start(weight, { ...options, ...scaled });
    assert.deepEqual(
      [found.a.rows, found.a.cols, found.b.rows, found.b.cols],
      [3, 7, ROWS, 3],
    );
    assert.ok(found.error < 0.999 * found.plainError);
    assertAllClose([found.error], [(await errorsOf(found))[0]], { rtol: 1e-5 });
    assert.deepEqual([found.history, found.iteration], [[found.error], 1]);
    assert.equal(found.outputError, undefined);
    assert.deepEqual(found.backbone, await quantize(weight, options));
  }
});

Deno.test("with moments, the error of the output is lowered and told", async () => {
  const found = await start(weight, { ...options, metric });
  assert.ok(found.outputError! < 0.9 * found.plainOutputError!);
  assertAllClose([found.error, found.outputError!], await errorsOf(found), {
    rtol: 1e-4,
  });
  const blind = await start(weight, options);
  assert.ok(found.outputError! < 0.95 * (await errorsOf(blind))[1]);
});

Deno.test("a rank beyond the groups corrects at full rank and starts the rest at random", async () => {
  const found = await start(weight, { ...options, rank: 10, metric });
  const biases = await layer(weight, { ...options, biases: true, metric });
  assertAllClose([found.outputError!], [biases.outputError!], { rtol: 1e-5 });
  for (let k = 7; k < 10; k++) {
    const row = found.a.data.subarray(k * 7, (k + 1) * 7);
    assert.ok(row.every((x) => x !== 0 && Math.abs(x) <= 1 / Math.sqrt(7)));
    for (let i = 0; i < ROWS; i++) assert.equal(found.b.data[i * 10 + k], 0);
  }
});

Deno.test("T = 0 is the plain start: A within Kaiming's bound for the groups, B zero", async () => {
  const found = await start(weight, { ...options, iterations: 0, metric });
  assert.ok(found.b.data.every((x) => x === 0));
  const largest = Math.max(...found.a.data.map(Math.abs));
  const bound = 1 / Math.sqrt(7);
  assert.ok(largest <= bound && largest > 0.7 * bound, `${largest}`);
  assert.deepEqual([found.history, found.iteration], [[], 0]);
  assert.equal(found.error, found.plainError);
  assert.equal(found.outputError, found.plainOutputError);
  const other = await start(weight, {
    ...options,
    iterations: 0,
    name: "another",
  });
  assert.notDeepEqual(other.a.data, found.a.data);
});

Deno.test("iterations keep the best: GPTQ's change, the others' cannot", async () => {
  const gptq = await start(weight, {
    ...options,
    quantizer: "gptq",
    metric,
    iterations: 6,
  });
  assert.ok(gptq.history.length > 1);
  assert.equal(gptq.outputError! <= gptq.history[0] * (1 + 1e-5), true);
  assert.equal(
    gptq.iteration,
    gptq.history.indexOf(Math.min(...gptq.history)) + 1,
  );
  assertAllClose([gptq.error, gptq.outputError!], await errorsOf(gptq), {
    rtol: 1e-4,
  });
  for (const quantizer of ["minmax", "mse", "hqq"] as const) {
    const one = await start(weight, { ...options, quantizer });
    const more = await start(weight, { ...options, quantizer, iterations: 4 });
    assertAllClose([more.error], [one.error], { rtol: 1e-3, what: quantizer });
    assertAllClose([more.error], [(await errorsOf(more))[0]], { rtol: 1e-5 });
  }
});

Deno.test("a base given is kept", async () => {
  const base = await quantize(weight, options);
  const { format: _, block: __, ...rest } = options;
  const found = await start(weight, { ...rest, base, iterations: 5 });
  assert.equal(found.backbone, base);
  const own = await start(weight, options);
  assert.deepEqual(found.b.data, own.b.data);
  const fitted = await layer(weight, { ...rest, base, biases: true });
  assert.equal(fitted.backbone.codes, base.codes);
  assert.equal(fitted.backbone.scales, base.scales);
  assert.notDeepEqual(fitted.backbone.biases, base.biases);
});

Deno.test("layer() with biases corrects at full rank and leaves the adapter at its plain start", async () => {
  for (const given of [{}, { metric }]) {
    const plain = await start(weight, { ...options, ...given, iterations: 0 });
    const low = await start(weight, { ...options, ...given });
    const found = await layer(weight, { ...options, ...given, biases: true });
    assert.deepEqual([found.a, found.b], [plain.a, plain.b]);
    assert.equal(found.plainError, plain.error);
    const [error, told] = given.metric
      ? [found.outputError!, low.outputError!]
      : [found.error, low.error];
    assert.ok(error < told, `${error} against ${told}`);
    const [of, ofOutput] = await errorsOf(found);
    assertAllClose([found.error], [of], { rtol: 1e-5 });
    assertAllClose(found.history, [given.metric ? ofOutput : of], {
      rtol: 1e-4,
    });
    assert.deepEqual(
      await layer(weight, { ...options, ...given, biases: false }),
      low,
    );
  }
});

Deno.test("without a device, one is opened", async () => {
  const { device: _, ...rest } = options;
  const small = normalMatrix(new Random(3), 4, 20);
  const found = await layer(small, { ...rest, biases: true });
  assert.deepEqual(found.backbone.codes, (await quantize(small, rest)).codes);
});

Deno.test("options out of their range are refused by name", async () => {
  const base = await quantize(normalMatrix(new Random(4), 4, 100), options);
  const named = { ...options, name: "q_proj" };
  const before = device.memory.bytes;
  for (
    const [bad, name, message] of [
      [{ rank: 0 }, "RangeError", "rank must be a whole number >= 1, got 0"],
      [{ alpha: 0 }, "RangeError", "alpha must be > 0, got 0"],
      [
        { iterations: -1 },
        "RangeError",
        "iterations must be a whole number >= 0, got -1",
      ],
      [
        { format: undefined },
        "RangeError",
        "format must be named where no base is given, got undefined",
      ],
    ] as const
  ) {
    for (const biases of [false, true]) {
      await assert.rejects(layer(weight, { ...named, ...bad, biases }), {
        name,
        message: `Cannot start QA-LoRA on q_proj: ${message}`,
      });
    }
  }
  await assert.rejects(start(weight, { ...named, base }), {
    name: "TypeError",
    message:
      "Cannot use the base of q_proj: it is 4 x 100, the weight 40 x 100",
  });
  assert.equal(device.memory.bytes, before);
});

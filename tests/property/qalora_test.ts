import assert from "node:assert/strict";
import { openDevice } from "../../src/backend/open.ts";
import type { Metric } from "../../src/loftq/metric.ts";
import {
  BASE_QUANTIZERS,
  biases,
  layer,
  merge,
  quantize,
  spread,
  start,
} from "../../src/api/qalora.ts";
import { codesOf } from "../../src/quant/pack.ts";
import { dequantize } from "../../src/api/matrices.ts";
import type { QuantizedMatrix } from "../../src/quant/quantized.ts";
import { type Matrix, matrix } from "../../src/tensor/matrix.ts";
import type { Random } from "../../src/tensor/random.ts";
import { assertAllClose, assertBytes } from "../helpers/assert.ts";
import { forSeeds, integer, normalMatrix, pick } from "../helpers/inputs.ts";
import { correlated, outputError } from "../unit/qalora/inputs.ts";

const device = await openDevice("wasm");

function anyShape(random: Random) {
  const cols = integer(random, 1, 140);
  return {
    weight: normalMatrix(random, integer(random, 1, 20), cols),
    format: pick(random, ["int5", "int4", "int3", "int2"] as const),
    block: pick(random, [1, 7, 16, 32, 50, 64, 128]),
    metric: pick<() => Metric>(random, [
      () => ({ kind: "identity" }),
      () => ({
        kind: "diag",
        moments: Float32Array.from({ length: cols }, () => random.uniform()),
      }),
      () => ({ kind: "full", moments: correlated(random, cols) }),
    ])(),
    device,
  };
}

/** Number of a row's group and of the group among all. */
function groupAt({ cols, block }: QuantizedMatrix, i: number) {
  const inRow = Math.floor((i % cols) / block);
  return { inRow, at: Math.floor(i / cols) * Math.ceil(cols / block) + inRow };
}

Deno.test("a weight in its group's range is within half a step of it", async () => {
  await forSeeds(80, async (random) => {
    const { weight, metric, ...options } = anyShape(random);
    const quantizer = pick(
      random,
      metric.kind === "full"
        ? BASE_QUANTIZERS
        : BASE_QUANTIZERS.filter((q) => q !== "gptq"),
    );
    const base = await quantize(weight, { ...options, quantizer, metric });
    const q = await dequantize(base, { device });
    const top = (1 << Number(options.format.slice(3))) - 1;
    assert.ok(codesOf(base).every((code) => code <= top));
    // GPTQ rounds what others' errors made of a weight.
    if (quantizer === "gptq") return;
    weight.data.forEach((x, i) => {
      const { at } = groupAt(base, i);
      const [scale, bias] = [base.scales[at], base.biases![at]];
      const slack = 1e-6 * (Math.abs(x) + scale);
      const inside = Math.min(Math.max(x, bias), bias + top * scale);
      if (quantizer === "minmax") {
        assert.ok(Math.abs(x - inside) <= slack, `${x} is out of its range`);
      }
      assert.ok(
        Math.abs(inside - q.data[i]) <= scale / 2 + slack,
        `${quantizer}: ${x} became ${q.data[i]}, step ${scale}`,
      );
    });
  });
});

Deno.test("merging is exact: codes and scales stay, values are the unmerged ones but for rounding", async () => {
  await forSeeds(80, async (random) => {
    const { weight, metric: _, ...options } = anyShape(random);
    const base = await quantize(weight, options);
    const groups = Math.ceil(weight.cols / options.block);
    const rank = integer(random, 1, 9);
    const size = 10 ** integer(random, -3, 1);
    const adapter = {
      a: normalMatrix(random, rank, groups),
      b: matrix(
        weight.rows,
        rank,
        random.normals(weight.rows * rank).map((x) => size * x),
      ),
      scaling: 0.25 * integer(random, 1, 16),
    };
    const merged = merge(base, adapter);
    assertBytes(merged.codes, base.codes, "codes");
    assert.deepEqual(merged.scales, base.scales);
    const [one, two] = [
      await dequantize(merged, { device }),
      await dequantize(base, { device }),
    ];
    const delta = spread(adapter, base).data;
    one.data.forEach((x, i) => {
      const { at } = groupAt(base, i);
      // The largest of what is summed on either way.
      const summand = Math.max(
        Math.abs(two.data[i]),
        Math.abs(delta[i]),
        Math.abs(base.biases![at]),
        Math.abs(merged.biases![at]),
        base.scales[at] * ((1 << Number(options.format.slice(3))) - 1),
      );
      const ulp = 2 ** (Math.floor(Math.log2(summand)) - 23);
      assert.ok(
        Math.abs(x - Math.fround(two.data[i] + delta[i])) <= 2 * ulp,
        `${x} merged, ${two.data[i]} + ${delta[i]} unmerged`,
      );
    });
  });
});

Deno.test("a start is never worse than the plain one, and biases never than a start", async () => {
  await forSeeds(60, async (random) => {
    const { weight, ...options } = anyShape(random);
    const rank = integer(random, 1, 12);
    const found = await start(weight, { ...options, rank });
    const plain = await start(weight, { ...options, rank, iterations: 0 });
    const best = await layer(weight, { ...options, rank, biases: true });
    const of = (r: typeof found) => r.outputError ?? r.error;
    const slack = 1e-5 * of(plain) + 1e-6;
    assert.deepEqual(found.backbone, plain.backbone);
    assert.ok(of(found) <= of(plain) + slack, `${of(found)} > ${of(plain)}`);
    assert.ok(of(best) <= of(found) + slack, `${of(best)} > ${of(found)}`);
    const groups = Math.ceil(weight.cols / options.block);
    if (rank >= Math.min(groups, weight.rows)) {
      assertAllClose([of(found)], [of(best)], { atol: slack, rtol: 1e-4 });
    }
  });
});

Deno.test("in the identity, biases and full-rank starts add the groups' mean errors", async () => {
  await forSeeds(40, async (random) => {
    const { weight, metric: _, ...options } = anyShape(random);
    const base = await quantize(weight, options);
    const groups = Math.ceil(weight.cols / options.block);
    const means = groupMeans(weight, base, await dequantize(base, { device }));
    const fitted = await biases(weight, base, { device });
    const { a, b, scaling } = await start(weight, {
      device,
      base,
      rank: groups,
      alpha: 3,
    });
    const added = spread({ a, b, scaling }, { cols: groups, block: 1 }).data;
    const atol = 2e-6 * Math.max(...weight.data.map(Math.abs));
    assertAllClose(fitted.biases!, base.biases!.map((x, i) => x + means[i]), {
      atol,
    });
    assertAllClose(added, means, { atol });
  });
});

function groupMeans(
  weight: Matrix,
  base: QuantizedMatrix,
  q: Matrix,
): Float64Array {
  const sums = new Float64Array(base.scales.length);
  const counts = new Float64Array(base.scales.length);
  weight.data.forEach((x, i) => {
    const { at } = groupAt(base, i);
    sums[at] += x - q.data[i];
    counts[at]++;
  });
  return sums.map((x, i) => x / counts[i]);
}

Deno.test("biases never raise the error in the metric, whatever the base", async () => {
  await forSeeds(60, async (random) => {
    const { weight, ...options } = anyShape(random);
    const moments = correlated(random, weight.cols);
    const base = await quantize(weight, {
      ...options,
      quantizer: pick(random, ["minmax", "mse", "hqq"] as const),
    });
    const shifted = merge(base, {
      a: normalMatrix(random, 1, Math.ceil(weight.cols / options.block)),
      b: normalMatrix(random, weight.rows, 1),
      scaling: pick(random, [0, 0.1, 10]),
    });
    const fitted = await biases(weight, shifted, {
      metric: { kind: "full", moments, damping: 0 },
      device,
    });
    const error = async (q: QuantizedMatrix) =>
      outputError(weight, await dequantize(q, { device }), moments);
    assert.ok(await error(fitted) <= await error(shifted) * (1 + 1e-5) + 1e-6);
    assertBytes(fitted.codes, base.codes, "codes");
    assert.deepEqual(fitted.scales, base.scales);
  });
});

import assert from "node:assert/strict";
import { quantSizes } from "../../src/device/quant_mat.ts";
import { format, FORMAT_NAMES, scaleRules } from "../../src/quant/formats.ts";
import { codesOf, packCodes, unpackCodes } from "../../src/quant/pack.ts";
import { dequantize, quantize } from "../../src/api/matrices.ts";
import { matrix } from "../../src/tensor/matrix.ts";
import { assertBytes } from "../helpers/assert.ts";
import { forSeeds, integer, normalMatrix, pick } from "../helpers/inputs.ts";

Deno.test("packing and unpacking are inverse over random shapes", async () => {
  await forSeeds(300, (random) => {
    const row = format(pick(random, FORMAT_NAMES));
    const rows = integer(random, 0, 9);
    const cols = integer(random, 0, 41);
    const codes = Uint8Array.from(
      { length: rows * cols },
      () => integer(random, 0, (1 << row.bits) - 1),
    );
    const packed = packCodes(row, { rows, cols, codes });
    const { codeBytes } = quantSizes(row, rows, cols, 0);
    assert.equal(packed.length, codeBytes);
    assertBytes(unpackCodes(row, { rows, cols, codes: packed }), codes);
  });
});

Deno.test("every bit pattern survives unpacking and packing", () => {
  for (const name of FORMAT_NAMES) {
    const row = format(name);
    // Eight codes fill whole bytes.
    const codes = new Uint8Array(256 * row.bits);
    for (let i = 0; i < codes.length; i++) codes[i] = i * 167 + (i >> 8) * 31;
    const shape = { rows: 256, cols: 8 };
    assertBytes(
      packCodes(row, {
        ...shape,
        codes: unpackCodes(row, { ...shape, codes }),
      }),
      codes,
      name,
    );
  }
});

Deno.test("affine codes are within half a step inside the range", async () => {
  await forSeeds(60, async (random) => {
    const rows = integer(random, 1, 6);
    const cols = integer(random, 1, 90);
    const block = pick(random, [0, 1, 7, 16, 32, 64]);
    const size = 10 ** integer(random, -6, 6);
    const w = matrix(
      rows,
      cols,
      random.normals(rows * cols).map((x) => size * (x + 2)),
    );
    const q = await quantize(w, {
      format: pick(random, ["int5", "int4", "int3", "int2"] as const),
      block,
    });
    const back = await dequantize(q);
    const line = block || cols;
    w.data.forEach((x, i) => {
      const at = Math.floor(i / cols) * Math.ceil(cols / line) +
        Math.floor(i % cols / line);
      const limit = q.scales[at] / 2 + 1e-6 * (Math.abs(x) + q.scales[at]);
      assert.ok(
        Math.abs(x - back.data[i]) <= limit,
        `${x} became ${back.data[i]}, step ${q.scales[at]}`,
      );
    });
  });
});

Deno.test("quantising a dequantised matrix changes no code", async () => {
  await forSeeds(60, async (random) => {
    const rows = integer(random, 1, 9);
    const cols = integer(random, 1, 130);
    const name = pick(
      random,
      ["nf4", "nf3", "nf2", "int5", "int4", "int3", "int2"] as const,
    );
    const options = { format: name, block: pick(random, [16, 32, 64, 100]) };
    const w = normalMatrix(random, rows, cols);
    const once = await quantize(w, options);
    const twice = await quantize(await dequantize(once), options);
    assertBytes(codesOf(twice), codesOf(once), name);
  });
});

Deno.test("codebook codes are nearest under every scale rule", async () => {
  const books = FORMAT_NAMES.map(format).filter((row) => row.levels !== null);
  await forSeeds(60, async (random) => {
    const row = pick(random, books);
    const rows = integer(random, 1, 5);
    const cols = integer(random, 1, 100);
    const block = pick(random, [1, 5, 32, 64]);
    const scale = pick(random, scaleRules(row));
    const w = normalMatrix(random, rows, cols);
    const q = await quantize(w, { format: row.name, block, scale });
    codesOf(q).forEach((code, i) => {
      const s = q.scales[Math.floor(i / block)];
      const distance = Array.from(
        row.levels!,
        (level) => Math.abs(w.data[i] - s * level),
      );
      assert.ok(
        distance[code] <= Math.min(...distance) + 1e-6 * Math.abs(s),
        `${row.name} ${scale}: ${w.data[i]} took code ${code}`,
      );
    });
  });
});

Deno.test("mse scales are the best of their 25 candidates", async () => {
  await forSeeds(40, async (random) => {
    const row = format(pick(random, ["nf4", "nf2", "int4", "int2"] as const));
    const n = integer(random, 1, 70);
    const w = normalMatrix(random, 1, n);
    const weights = w.data.map(() => random.uniform());
    const error = (scale: number, bias: number, code: (x: number) => number) =>
      w.data.reduce((sum, x, i) => {
        const y = scale * (row.levels?.[code(x)] ?? code(x)) + bias;
        return sum + weights[i] * (x - y) ** 2;
      }, 0);

    let best = Infinity;
    const [min, max] = [Math.min(...w.data), Math.max(...w.data)];
    const top = (1 << row.bits) - 1;
    for (let step = 0; step < 25; step++) {
      const f = 1 - 0.025 * step;
      if (row.levels) {
        const scale = f * Math.max(max, -min);
        const nearest = (x: number) => {
          const distance = Array.from(
            row.levels!,
            (level) => Math.abs(x - scale * level),
          );
          return distance.indexOf(Math.min(...distance));
        };
        best = Math.min(best, error(scale, 0, nearest));
      } else {
        const scale = f * (max - min) / top;
        const bias = (max + min) / 2 - f * (max - min) / 2;
        const code = (x: number) =>
          Math.min(Math.max(Math.round((x - bias) / scale), 0), top);
        best = Math.min(best, error(scale, bias, n > 1 ? code : () => 0));
      }
    }

    const q = await quantize(w, {
      format: row.name,
      block: 0,
      scale: "mse",
      weights,
    });
    const codes = codesOf(q);
    let at = 0;
    const got = error(q.scales[0], q.biases?.[0] ?? 0, () => codes[at++]);
    assert.ok(
      Math.abs(got - best) <= 1e-5 * best + 1e-12,
      `${row.name}: ${got} against ${best}`,
    );
  });
});

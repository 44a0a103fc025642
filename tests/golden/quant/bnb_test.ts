import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { fileSource } from "../../../src/io/files/deno.ts";
import { openGguf } from "../../../src/io/gguf/file.ts";
import { decodeBlocks } from "../../../src/io/ggml/types.ts";
import { openSafetensors } from "../../../src/io/safetensors/read.ts";
import { nestScales, unnestScales } from "../../../src/quant/double.ts";
import { dequantize, quantize } from "../../../src/api/matrices.ts";
import { type FloatDType, toF32 } from "../../../src/tensor/dtype.ts";
import {
  type Matrix,
  matrix,
  relativeError,
} from "../../../src/tensor/matrix.ts";
import { assertAllClose, assertBytes } from "../../helpers/assert.ts";
import { floats, golden, sha256, u8 } from "../../helpers/golden.ts";
import { eachDevice } from "../../helpers/gpu.ts";
import { exists, models, sharedData } from "../../helpers/inputs.ts";

interface EdgeCase {
  name: string;
  block: number;
  input: string;
  codes: string;
  absmax: string;
}

interface Nested {
  name: string;
  scales: string;
  offset: number;
  codes: string;
  absmax: string;
  back: string;
}

interface RealRow {
  root: "shared" | "models";
  file: string;
  tensor: string;
  shape: [number, number];
  blocks: {
    block: number;
    codes: string;
    absmax: string;
    error: number;
    nested: { offset: number; codes: string; absmax: string; back: string };
  }[];
}

const bnb = golden<{ cases: EdgeCase[]; nested: Nested[] }>(
  import.meta,
  "bnb.json",
);
const real = golden<{ rows: RealRow[] }>(import.meta, "real.json");

const TINY = Math.fround(1e-38);

eachDevice(
  (name) => `quantize() on ${name} gives the bytes of bitsandbytes`,
  async (name, t) => {
    using device = await openDevice(name);
    for (const row of bnb.cases) {
      await t.step(`${row.name}, block ${row.block}`, async () => {
        const data = floats(row.input);
        const q = await quantize(matrix(1, data.length, data), {
          format: "nf4",
          block: row.block,
          device,
        });
        assertBytes(q.codes, u8(row.codes), "codes");
        // Its CPU kernel raises the scale of a short last block, and only that, to 1e-38; its CUDA kernel does not.
        const absmax = floats(row.absmax).map((s) => s === TINY ? 0 : s);
        assertAllClose(q.scales, absmax, { what: "absmax" });
      });
    }
  },
);

Deno.test("nestScales() gives the bytes of bitsandbytes for the same offset", async (t) => {
  for (const row of bnb.nested) {
    await t.step(row.name, () => {
      const scales = floats(row.scales);
      const nested = nestScales(scales, { offset: row.offset });
      assertBytes(nested.codes, u8(row.codes), "codes");
      assertAllClose(nested.absmax, floats(row.absmax), { what: "absmax" });
      assertAllClose(unnestScales(nested), floats(row.back), { what: "back" });
      // f32 sums in an unknown order: half an ulp for each of a few levels of partial sums.
      assertAllClose([nestScales(scales).offset], [row.offset], {
        rtol: 4 * 2 ** -24,
      });
    });
  }
});

async function load(path: string, row: RealRow): Promise<Matrix> {
  await using source = await fileSource(path);
  const [rows, cols] = row.shape;
  if (path.endsWith(".gguf")) {
    const file = await openGguf(source);
    const tensor = file.tensors.get(row.tensor)!;
    return matrix(
      rows,
      cols,
      decodeBlocks(tensor.type, await file.readRows(tensor, 0, rows)),
    );
  }
  const file = await openSafetensors(source);
  const dtype = file.tensors.get(row.tensor)!.dtype as FloatDType;
  return matrix(rows, cols, toF32(await file.read(row.tensor), dtype));
}

for (const row of real.rows) {
  const root = row.root === "shared" ? sharedData() : models();
  const path = `${root}/${row.file}`;
  const there = root !== null && exists(path);
  Deno.test({
    name: `real weights: ${row.file} ${row.tensor}${
      there ? "" : ` (needs ${row.root}/${row.file})`
    }`,
    ignore: !there,
    async fn() {
      const w = await load(path, row);
      for (const want of row.blocks) {
        const q = await quantize(w, { format: "nf4", block: want.block });
        assert.equal(await sha256(q.codes), want.codes, "codes");
        assert.equal(await sha256(q.scales), want.absmax, "absmax");
        assertAllClose([relativeError(w, await dequantize(q))], [want.error], {
          rtol: 1e-6,
        });
        const { offset } = want.nested;
        const nested = nestScales(q.scales, { offset });
        assert.equal(await sha256(nested.codes), want.nested.codes);
        assert.equal(await sha256(nested.absmax), want.nested.absmax);
        assert.equal(await sha256(unnestScales(nested)), want.nested.back);
        assertAllClose([nestScales(q.scales).offset], [offset], {
          rtol: 4 * 2 ** -24,
        });
      }
    },
  });
}

// deno-lint-ignore-file camelcase -- the keys are those of Hugging Face's files
import assert from "node:assert/strict";
import { openFileSet } from "../../../../src/io/recognise.ts";
import { files, rawSafetensors, rejects } from "../helpers.ts";

const WIDTHS: Record<string, number> = { F32: 4, F16: 2, I32: 4, I64: 8 };

/** A folder with these tensors, of zeros, and this config. */
function folder(
  tensors: Readonly<Record<string, readonly [string, readonly number[]]>>,
  config: Record<string, unknown>,
) {
  let at = 0;
  const header = Object.fromEntries(
    Object.entries(tensors).map(([name, [dtype, shape]]) => {
      const from = at;
      at += shape.reduce((a, b) => a * b, WIDTHS[dtype] ?? 1);
      return [name, { dtype, shape, data_offsets: [from, at] }];
    }),
  );
  return files({
    "model.safetensors": rawSafetensors(header, at),
    "config.json": JSON.stringify(config),
  });
}

const dense = { "fc.weight": ["F32", [4, 4]] } as const;
const W = "layers.0.fc";

const FOREIGN = {
  "MXFP4 beside dense layers": [
    {
      ...dense,
      [`${W}_blocks`]: ["U8", [2, 4, 2, 16]],
      [`${W}_scales`]: ["U8", [2, 4, 2]],
    },
    { quant_method: "mxfp4" },
    "MXFP4",
  ],
  "compressed-tensors int4 beside dense layers": [
    {
      ...dense,
      [`${W}.weight_packed`]: ["I32", [4, 1]],
      [`${W}.weight_scale`]: ["F16", [4, 1]],
      [`${W}.weight_shape`]: ["I64", [2]],
    },
    { quant_method: "compressed-tensors", ignore: ["fc"] },
    "compressed-tensors",
  ],
  "fp8 with scales of blocks": [
    {
      [`${W}.weight`]: ["F8_E4M3", [4, 4]],
      [`${W}.weight_scale_inv`]: ["F32", [1, 1]],
    },
    { quant_method: "fp8" },
    "scaled fp8 or int8",
  ],
  "compressed-tensors int8": [
    {
      [`${W}.weight`]: ["I8", [4, 4]],
      [`${W}.weight_scale`]: ["F32", [4, 1]],
    },
    { quant_method: "compressed-tensors" },
    "scaled fp8 or int8",
  ],
  "LLM.int8": [
    {
      [`${W}.weight`]: ["I8", [4, 4]],
      [`${W}.SCB`]: ["F32", [4]],
    },
    { quant_method: "bitsandbytes", load_in_8bit: true },
    "LLM.int8",
  ],
  "torchao": [dense, { quant_method: "torchao" }, undefined],
  "BitNet": [dense, { quant_method: "bitnet" }, undefined],
  "bitsandbytes over plain weights": [dense, {
    quant_method: "bitsandbytes",
    load_in_4bit: true,
  }, undefined],
  "AWQ": [
    {
      [`${W}.qweight`]: ["I32", [8, 1]],
      [`${W}.qzeros`]: ["I32", [1, 1]],
      [`${W}.scales`]: ["F16", [1, 8]],
    },
    { quant_method: "awq", bits: 4 },
    "GPTQ",
  ],
} as const;

for (const [what, [tensors, block, byNames]] of Object.entries(FOREIGN)) {
  Deno.test(`${what}: refused by its config and by its tensors, and described`, async () => {
    const config = { quantization_config: block };
    const told = "load_in_8bit" in block ? "LLM.int8" : block.quant_method;
    for (const given of [config, { text_config: config }]) {
      if (what === "AWQ" && given !== config) continue;
      await rejects(
        () => openFileSet(folder(tensors, given)),
        TypeError,
        told,
        "folder",
      );
    }
    if (byNames !== undefined) {
      await rejects(() => openFileSet(folder(tensors, {})), TypeError, byNames);
    } else await openFileSet(folder(tensors, {}));
    await using model = await openFileSet(folder(tensors, config), {
      describe: true,
    });
    assert.deepEqual(
      [...model.tensors.keys()].sort(),
      Object.keys(tensors).sort(),
    );
    assert.ok(model.notes![0].includes(told));
  });
}

Deno.test("a scale beside a plain weight, and an empty block, are no quantisation", async () => {
  const tensors = {
    "fc.weight": ["F16", [4, 4]],
    "fc.weight_scale": ["F32", [1]],
  } as const;
  for (const quantization_config of [undefined, null, {}]) {
    await using model = await openFileSet(
      folder(tensors, { quantization_config }),
    );
    assert.equal(model.notes, undefined);
  }
});

Deno.test("a type that is not read can be described, not read", async () => {
  const set = folder({ x: ["F8_E5M2", [3]] }, {});
  await rejects(() => openFileSet(set), TypeError, '"x" (F8_E5M2)');
  await using model = await openFileSet(set, { describe: true });
  assert.equal(model.tensors.get("x")!.encoding, "F8_E5M2");
  await rejects(() => model.readF32("x"), TypeError, "F8_E5M2");
});

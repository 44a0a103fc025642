import assert from "node:assert/strict";
import {
  bnbConfigBlock,
  bnbEntries,
  bnbTensors,
} from "../../../../src/io/bnb/write.ts";
import type { BnbOptions } from "../../../../src/io/bnb/write.ts";
import { openFileSet } from "../../../../src/io/recognise.ts";
import {
  safetensorsHeader,
  SafetensorsWriter,
} from "../../../../src/io/safetensors/write.ts";
import { openSafetensors } from "../../../../src/io/safetensors/read.ts";
import { bytesSource, memorySink } from "../../../../src/io/files/sources.ts";
import { packMatrix } from "../../../../src/quant/pack.ts";
import { format } from "../../../../src/quant/formats.ts";
import type { FormatName } from "../../../../src/quant/formats.ts";
import type { QuantizedMatrix } from "../../../../src/quant/quantized.ts";
import {
  files,
  goldenBytes,
  goldenJson,
  rejects,
  sha256,
  values,
} from "../helpers.ts";

interface Golden {
  shape: [number, number];
  encoding: string;
  dtype: string;
  block: number;
  values: number[];
  f32: string;
  absmax: string;
  codes: string;
}

const SHORT: Record<string, string> = {
  float16: "f16",
  bfloat16: "bf16",
  float32: "f32",
};

async function golden() {
  return await openFileSet(
    files({ "model.safetensors": await goldenBytes("bnb.safetensors") }),
  );
}

Deno.test("a bitsandbytes checkpoint is decoded as bitsandbytes decodes it", async () => {
  await using model = await golden();
  const wanted = await goldenJson<Golden>("bnb.json");
  assert.equal(model.format, "bnb");
  assert.deepEqual(
    [...model.tensors.keys()].sort(),
    ["model.norm.weight", ...Object.keys(wanted)].sort(),
  );
  for (const [name, tensor] of Object.entries(wanted)) {
    const info = model.tensors.get(name)!;
    assert.deepEqual(info.shape, tensor.shape);
    assert.equal(info.encoding, tensor.encoding);
    assert.equal(info.dtype, SHORT[tensor.dtype]);
    const got = await model.readF32(name);
    assert.equal(await sha256(got), tensor.f32, name);
    const [rows, cols] = tensor.shape;
    for (const [from, to] of [[1, 2], [3, rows], [0, 5], [2, 2]]) {
      assert.deepEqual(
        await model.readF32(name, from, to),
        got.slice(from * cols, to * cols),
        `${name} ${from} ${to}`,
      );
    }
  }
});

Deno.test("readQuantized() gives nf4 weights as they are, and no others", async () => {
  await using model = await golden();
  const wanted = await goldenJson<Golden>("bnb.json");
  for (const [name, tensor] of Object.entries(wanted)) {
    const q = await model.readQuantized!(name);
    const told = model.tensors.get(name)!.quantized;
    if (tensor.encoding === "fp4") {
      assert.equal(q, undefined);
      assert.equal(told, undefined);
      continue;
    }
    assert.equal(q!.format, "nf4");
    assert.deepEqual([q!.rows, q!.cols, q!.block], [
      ...tensor.shape,
      tensor.block,
    ]);
    const { codes: _, scales, ...shape } = q!;
    assert.deepEqual(told, { ...shape, scaleDType: "f32" });
    assert.deepEqual(await model.readScales!(name), { scales });
    assert.equal(await sha256(q!.scales), tensor.absmax, name);
    assert.equal(await sha256(q!.codes), tensor.codes, name);
  }
  assert.equal(await model.readQuantized!("model.norm.weight"), undefined);
  await rejects(() => model.readQuantized!("none"), TypeError, `"none"`);
});

function matrix(
  name: FormatName,
  rows: number,
  cols: number,
  block: number,
): QuantizedMatrix {
  const spec = format(name);
  const levels = 1 << spec.bits;
  const codes = Uint8Array.from(
    values(rows * cols),
    (x) => Math.floor((x + 1) / 2 * levels),
  );
  return {
    format: name,
    rows,
    cols,
    block,
    codes: packMatrix(spec, { rows, cols, codes }),
    scales: values(Math.ceil(rows * cols / block), 9).map((x) =>
      0.1 + Math.abs(x)
    ),
  };
}

async function written(
  q: QuantizedMatrix,
  options: BnbOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const layout = safetensorsHeader(bnbEntries("m.weight", q, options));
  const sink = memorySink("out");
  const writer = await SafetensorsWriter.open(sink, layout);
  for (const { name, bytes } of bnbTensors("m.weight", q, options)) {
    await writer.write(name, bytes);
  }
  await writer.close();
  return sink.bytes();
}

for (const [rows, cols] of [[32, 64], [7, 9], [1, 1], [300, 130]]) {
  Deno.test(`what bnbTensors() writes of ${rows} x ${cols} comes back`, async () => {
    const q = matrix("nf4", rows, cols, 64);
    await using model = await openFileSet(
      files({ "model.safetensors": await written(q, { dtype: "f16" }) }),
    );
    assert.equal(model.tensors.get("m.weight")!.dtype, "f16");
    assert.deepEqual(await model.readQuantized!("m.weight"), q);
  });
}

Deno.test("nested scales come back within half a step", async () => {
  const q = matrix("nf4", 300, 130, 64);
  await using model = await openFileSet(
    files({ "model.safetensors": await written(q, { doubleQuant: true }) }),
  );
  const back = (await model.readQuantized!("m.weight"))!;
  assert.deepEqual(back.codes, q.codes);
  for (let i = 0; i < q.scales.length; i++) {
    assert.ok(Math.abs(back.scales[i] - q.scales[i]) < 0.02 * 0.6);
  }
});

Deno.test("an nf2 matrix is written in nf4 codes of the same values", async () => {
  const q = matrix("nf2", 16, 64, 32);
  await using model = await openFileSet(
    files({ "model.safetensors": await written(q, {}) }),
  );
  const levels = format("nf2").levels!;
  const decoded = await model.readF32("m.weight");
  for (let i = 0; i < decoded.length; i++) {
    const code = q.codes[i >> 2] >> 2 * (i & 3) & 3;
    assert.equal(
      decoded[i],
      Math.fround(levels[code] * q.scales[Math.floor(i / 32)]),
    );
  }
});

Deno.test("bnbEntries() and bnbTensors() refuse what bitsandbytes cannot hold", () => {
  const q = matrix("nf4", 4, 64, 64);
  for (const block of [0, 16, 63]) {
    assert.throws(
      () => bnbEntries("m.weight", { ...q, block }),
      (e) => e instanceof RangeError && /"m.weight".*got/.test(e.message),
    );
    assert.throws(() => bnbTensors("m.weight", { ...q, block }), RangeError);
  }
  assert.throws(
    () => bnbTensors("m.weight", matrix("nf3", 8, 64, 64)),
    TypeError,
  );
});

Deno.test("bnbConfigBlock() has the fields that transformers writes", () => {
  assert.deepEqual(
    Object.keys(bnbConfigBlock()).sort().join(" "),
    "_load_in_4bit _load_in_8bit bnb_4bit_compute_dtype bnb_4bit_quant_storage bnb_4bit_quant_type bnb_4bit_use_double_quant llm_int8_enable_fp32_cpu_offload llm_int8_has_fp16_weight llm_int8_skip_modules llm_int8_threshold load_in_4bit load_in_8bit quant_method",
  );
  // transformers refuses the int that 6 would be in Python.
  assert.match(JSON.stringify(bnbConfigBlock()), /"llm_int8_threshold":6\.0,/);
  const block = bnbConfigBlock({ skipModules: ["lm_head"], doubleQuant: true });
  assert.deepEqual(block.llm_int8_skip_modules, ["lm_head"]);
  assert.equal(block.bnb_4bit_use_double_quant, true);
});

type Part = { dtype: string; shape: number[]; bytes: Uint8Array };

async function changed(
  change: (parts: Map<string, Part>) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const file = await openSafetensors(
    bytesSource(await goldenBytes("bnb.safetensors"), "bnb"),
  );
  const parts = new Map<string, Part>();
  for (const [name, { dtype, shape }] of file.tensors) {
    parts.set(name, {
      dtype: dtype!,
      shape: [...shape],
      bytes: await file.read(name),
    });
  }
  change(parts);
  const layout = safetensorsHeader(
    [...parts].map(([name, { dtype, shape }]) => ({
      name,
      dtype: dtype as "u8",
      shape,
    })),
  );
  const sink = memorySink("out");
  const writer = await SafetensorsWriter.open(sink, layout);
  for (const { name } of layout.entries) {
    await writer.write(name, parts.get(name)!.bytes);
  }
  await writer.close();
  return sink.bytes();
}

const STATE = "model.plain.weight.quant_state.bitsandbytes__nf4";

function state(change: Record<string, unknown>) {
  return (parts: Map<string, Part>) => {
    const part = parts.get(STATE)!;
    const json = JSON.parse(new TextDecoder().decode(part.bytes));
    const bytes = new TextEncoder().encode(
      JSON.stringify({ ...json, ...change }),
    );
    parts.set(STATE, { dtype: "u8", shape: [bytes.length], bytes });
  };
}

const BAD: Record<string, [(parts: Map<string, Part>) => void, ...string[]]> = {
  "a missing absmax": [(p) => p.delete("model.plain.weight.absmax"), "absmax"],
  "missing codes": [
    (p) => p.delete("model.plain.weight"),
    "model.plain.weight",
  ],
  "a code table of another length": [
    (p) =>
      p.set("model.plain.weight.quant_map", {
        dtype: "f32",
        shape: [8],
        bytes: new Uint8Array(32),
      }),
    "quant_map",
    "16",
  ],
  "another shape": [state({ shape: [480, 800] }), "[480, 800]"],
  "an absurd shape": [state({ shape: [1e9, 1e9] }), "model.plain"],
  "a negative shape": [state({ shape: [-48, -80] }), "shape"],
  "a block size of 0": [state({ blocksize: 0 }), "blocksize"],
  "another block size": [state({ blocksize: 128 }), "absmax"],
  "an unknown dtype": [state({ dtype: "int4" }), `"int4"`],
  "two quant types": [state({ quant_type: "fp4" }), `"fp4"`],
  "a quant_state that is no JSON": [
    (p) =>
      p.set(STATE, { dtype: "u8", shape: [2], bytes: Uint8Array.of(0x7b, 1) }),
    STATE,
  ],
};

for (const [what, [change, ...parts]] of Object.entries(BAD)) {
  Deno.test(`a bitsandbytes checkpoint with ${what} is refused`, async () => {
    const bytes = await changed(change);
    await rejects(
      () => openFileSet(files({ "model.safetensors": bytes })),
      SyntaxError,
      "model.plain.weight",
      ...parts,
    );
  });
}

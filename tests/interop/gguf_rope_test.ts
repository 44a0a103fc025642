import assert from "node:assert/strict";
import { openDevice } from "../../src/backend/open.ts";
import { exportModel } from "../../src/export/run.ts";
import { openGguf } from "../../src/io/gguf/file.ts";
import { ggufHeader, ggufPair, GgufWriter } from "../../src/io/gguf/write.ts";
import { bytesSource, memorySink } from "../../src/io/files/sources.ts";
import { loadCausal } from "../../src/models/load/load.ts";
import { logitsOf } from "../helpers/llama.ts";
import { findNodePackage, runNodePackage } from "./environment.ts";
import { scratch } from "./run.ts";

const folder = scratch();
const llamaCpp = await findNodePackage("llama-cpp");
const MODEL = new URL("../../examples/model", import.meta.url).pathname;
const IDS = Array.from({ length: 40 }, (_, i) => 4 + (i * 7919 + 31) % 764);

const KEYS = {
  "plain": [],
  "the older key": [["rope.scale_linear", 4]],
  "no type": [["rope.scaling.factor", 4]],
  "both keys": [["rope.scaling.factor", 4], ["rope.scale_linear", 2]],
  "type none": [["rope.scaling.type", "none"], ["rope.scaling.factor", 4]],
} as const;

/** The project's own model as a GGUF file with more metadata. */
async function write(
  base: Uint8Array<ArrayBuffer>,
  path: string,
  keys: readonly (readonly [string, number | string])[],
): Promise<void> {
  const file = await openGguf(bytesSource(base, "base"));
  const pairs: Uint8Array[] = [];
  for (const key of file.metadata.keys()) pairs.push(await file.readPair(key));
  for (const [key, value] of keys) {
    const type = typeof value === "string" ? "string" : "f32";
    pairs.push(ggufPair(`llama.${key}`, type, value));
  }
  const tensors = [...file.tensors.values()];
  const layout = ggufHeader(
    pairs,
    tensors.map(({ name, type, shape }) => ({ name, type: type.name, shape })),
  );
  const sink = memorySink(path);
  const writer = await GgufWriter.open(sink, layout);
  for (const tensor of tensors) {
    await writer.write(
      tensor.name,
      await file.readRows(tensor, 0, tensor.shape[0]),
    );
  }
  await writer.close();
  await Deno.writeFile(path, sink.bytes());
}

function softmax(logits: Float32Array): number[] {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const all = Array.from(logits, (x) => Math.exp(x - most));
  const sum = all.reduce((a, b) => a + b);
  return all.map((x) => x / sum);
}

/** Largest distance of two lists of distributions. */
function apart(
  ones: readonly (readonly number[])[],
  others: readonly (readonly number[])[],
): number {
  return Math.max(
    ...ones.map((one, t) =>
      one.reduce((sum, p, i) => sum + Math.abs(p - others[t][i]) / 2, 0)
    ),
  );
}

Deno.test({
  name: "rope scaling under older keys is llama.cpp's, to its rounding",
  ignore: llamaCpp === undefined,
  async fn() {
    const base = `${folder}/base.gguf`;
    await exportModel(MODEL, { to: "gguf", out: base, dtype: "f32" });
    const bytes = await Deno.readFile(base);
    const paths = Object.entries(KEYS).map(([name, keys], i) =>
      [name, keys, `${folder}/${i}.gguf`] as const
    );
    for (const [, keys, path] of paths) await write(bytes, path, keys);
    const out = `${folder}/told.json`;
    await runNodePackage("llama_cpp.ts", llamaCpp!, {
      out,
      models: paths.map(([, , path]) => path),
      ids: IDS,
    });
    const { probabilities } = JSON.parse(await Deno.readTextFile(out));
    using device = await openDevice("wasm", { threads: 1 });
    let plain: number[][] = [];
    for (const [name, , path] of paths) {
      await using loaded = await loadCausal(device, path);
      const logits = await logitsOf(loaded.model, {
        ids: IDS,
        batch: 1,
        time: IDS.length,
      });
      const words = logits.length / IDS.length;
      const ours = IDS.map((_, t) =>
        softmax(logits.subarray(t * words, (t + 1) * words))
      );
      const theirs: number[][] = probabilities[path];
      const distance = apart(ours, theirs);
      assert.ok(distance < 5e-3, `${name}: ${distance}`);
      if (name === "plain") plain = theirs;
      const moved = apart(theirs, plain);
      const scaled = name !== "plain" && name !== "type none";
      assert.ok(scaled ? moved > 10 * distance : moved < distance, name);
    }
  },
});

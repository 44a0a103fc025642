import assert from "node:assert/strict";
import { own } from "./models.ts";
import { loqa, scratch } from "./run.ts";

const folder = scratch();
const encoder = new TextEncoder();
const weights = await Deno.readFile(`${own.path}/model.safetensors`);
const headerLength = Number(new DataView(weights.buffer).getBigUint64(0, true));
const header = new TextDecoder().decode(weights.subarray(8, 8 + headerLength));

/** A safetensors file with this header and the true data. */
function withHeader(text: string, length?: bigint): Uint8Array {
  const head = encoder.encode(text);
  const out = new Uint8Array(
    8 + head.length + weights.length - headerLength - 8,
  );
  new DataView(out.buffer).setBigUint64(0, length ?? BigInt(head.length), true);
  out.set(head, 8);
  out.set(weights.subarray(8 + headerLength), 8 + head.length);
  return out;
}

function changed(
  change: (tensors: Record<string, Tensor>) => void,
): Uint8Array {
  const tensors = JSON.parse(header);
  change(tensors);
  return withHeader(JSON.stringify(tensors));
}

interface Tensor {
  dtype: string;
  shape: number[];
  "data_offsets": number[];
}

const q = "model.layers.0.self_attn.q_proj.weight";
const broken: Record<string, Uint8Array> = {
  "empty": new Uint8Array(0),
  "seven bytes": new Uint8Array(7),
  "cut in its header": weights.slice(0, 40),
  "cut in its data": weights.slice(0, weights.length - 1000),
  "header of 2^60 bytes": withHeader(header, 1n << 60n),
  "header longer than the file": withHeader(header, BigInt(weights.length)),
  "header not JSON": withHeader(header.replace("{", "[")),
  "header an array": withHeader("[1, 2]"),
  "header nested 100000 deep": withHeader("[".repeat(100_000)),
  "unknown dtype": changed((t) => t[q].dtype = "Q7"),
  "shape that does not fit": changed((t) => t[q].shape = [128, 129]),
  "shape of 2^52": changed((t) => t[q].shape = [2 ** 26, 2 ** 26]),
  "negative size": changed((t) => t[q].shape = [-128, -128]),
  "shape not numbers": withHeader(header.replace("[128,128]", '["a",128]')),
  "offsets beyond the end": changed((t) =>
    t[q].data_offsets = t[q].data_offsets.map((o) => o + 2 ** 40)
  ),
  "offsets reversed": changed((t) => t[q].data_offsets.reverse()),
  "no offsets": changed((t) => Reflect.deleteProperty(t[q], "data_offsets")),
};

async function modelWith(name: string, files: Record<string, Uint8Array>) {
  const at = `${folder}/${name.replaceAll(" ", "-")}`;
  await Deno.mkdir(at);
  await Deno.copyFile(`${own.path}/config.json`, `${at}/config.json`);
  for (const [file, bytes] of Object.entries(files)) {
    await Deno.writeFile(`${at}/${file}`, bytes);
  }
  return at;
}

async function failsPlainly(...args: string[]): Promise<void> {
  const { code, stdout, stderr } = await loqa(...args);
  assert.equal(code, 1, `exit ${code}: ${stderr}`);
  assert.equal(stdout, "");
  const lines = stderr.trim().split("\n");
  assert.equal(lines.length, 1, stderr);
  assert.ok(lines[0].length > 20, stderr);
  assert.doesNotMatch(stderr, /Uncaught|\bat \S+:\d+:\d+|undefined|\[object/);
}

/** Asserts that `inspect` says what is wrong, instead of a description or under one of the file's tensors. */
async function inspectsPlainly(model: string): Promise<void> {
  const { code, stdout, stderr } = await loqa("inspect", model);
  if (code === 1) return await failsPlainly("inspect", model);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /^not a model to use: Cannot read .{20}/m);
}

function bothFail(name: string, path: () => Promise<string>): void {
  Deno.test(`malformed: ${name}`, async () => {
    const model = await path();
    const out = `${model}-out`;
    await inspectsPlainly(model);
    await failsPlainly("init", model, "-o", out, "--rank", "2", "--iters", "1");
    await assert.rejects(Deno.stat(out), Deno.errors.NotFound);
  });
}

for (const [name, bytes] of Object.entries(broken)) {
  bothFail(
    `safetensors, ${name}`,
    () => modelWith(name, { "model.safetensors": bytes }),
  );
}

bothFail("a path that is not there", () => Promise.resolve(`${folder}/none`));
bothFail("a folder without a model", () => modelWith("no model", {}));
bothFail(
  "a config that is not JSON",
  () =>
    modelWith("config", {
      "config.json": encoder.encode("{model_type: llama"),
      "model.safetensors": weights,
    }),
);
bothFail(
  "an index that names a shard outside the folder",
  () =>
    modelWith("index", {
      "model.safetensors.index.json": encoder.encode(
        JSON.stringify({ weight_map: { [q]: "../../model.safetensors" } }),
      ),
    }),
);
bothFail(
  "an index that names a missing shard",
  () =>
    modelWith("shard", {
      "model.safetensors.index.json": encoder.encode(
        JSON.stringify({ weight_map: { [q]: "model-00001.safetensors" } }),
      ),
    }),
);

/** An output of loqa with `from` in its file replaced by `to` of the same length. */
function ownBroken(
  name: string,
  layout: "bnb" | "packed",
  [from, to]: readonly [string, string],
): void {
  bothFail(`${layout}, ${name}`, async () => {
    const at = `${folder}/${layout}-${name.replaceAll(" ", "-")}`;
    const fast = ["--iters", "0", "--rank", "2", "--backbone", layout];
    const { code } = await loqa("init", own.path, "-o", at, ...fast);
    assert.equal(code, 0);
    const file = `${at}/backbone/model.safetensors`;
    const bytes = await Deno.readFile(file);
    const text = Array.from(
      { length: Math.ceil(bytes.length / 4096) },
      (_, i) =>
        String.fromCharCode(...bytes.subarray(i * 4096, (i + 1) * 4096)),
    ).join("");
    const where = text.indexOf(from);
    assert.ok(where >= 0 && from.length === to.length, `no ${from}`);
    bytes.set(encoder.encode(to), where);
    await Deno.writeFile(file, bytes);
    return `${at}/backbone`;
  });
}

ownBroken("quant_state no JSON", "bnb", ['{"quant_type"', '["quant_type"']);
ownBroken("an unknown type", "bnb", [
  '"quant_type": "nf4"',
  '"quant_type": "nf7"',
]);
ownBroken("a block of 0", "bnb", ['"blocksize": 64', '"blocksize": 00']);
ownBroken("another shape", "bnb", ['"shape": [128', '"shape": [999']);
ownBroken("another version", "packed", ['"version\\":1', '"version\\":7']);
ownBroken("an unknown format", "packed", [
  '"format\\":\\"nf4',
  '"format\\":\\"zz9',
]);
ownBroken("another width", "packed", ['"bits\\":4', '"bits\\":3']);

const magic = [0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0];
const gguf: Record<string, number[]> = {
  "only its magic": magic.slice(0, 4),
  "another version": [...magic.slice(0, 4), 99, 0, 0, 0, ...Array(16).fill(0)],
  "2^56 tensors": [...magic, 0, 0, 0, 0, 0, 0, 0, 1, ...Array(8).fill(0)],
  "2^56 metadata entries": [
    ...magic,
    ...Array(8).fill(0),
    ...Array(7).fill(0),
    1,
  ],
  "a string of 2^48 bytes": [
    ...magic,
    ...Array(8).fill(0),
    1,
    ...Array(7).fill(0),
    ...[0, 0, 0, 0, 0, 0, 1, 0],
    97,
  ],
};
for (const [name, bytes] of Object.entries(gguf)) {
  bothFail(`GGUF, ${name}`, async () => {
    const path = `${folder}/${name.replaceAll(" ", "-")}.gguf`;
    await Deno.writeFile(path, new Uint8Array(bytes));
    return path;
  });
}

Deno.test("malformed: wrong usage ends with 2", async () => {
  for (
    const args of [
      ["frobnicate"],
      ["init"],
      ["init", own.path, "-o", `${folder}/x`, "--format", "nf9"],
      ["init", own.path, "-o", `${folder}/x`, "--rank", "many"],
      ["init", own.path, "-o", `${folder}/x`, "--no-such-option"],
    ]
  ) {
    const { code, stderr } = await loqa(...args);
    assert.equal(code, 2, `loqa ${args.join(" ")}: exit ${code}: ${stderr}`);
  }
});

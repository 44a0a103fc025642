import assert from "node:assert/strict";
import { inFolder, readTree } from "../helpers/model.ts";
import { withTrainable } from "./train_work.ts";
import { failsWith, succeeds, there } from "./work.ts";

const GOLDEN = new URL("../golden", import.meta.url).pathname;
const EXAMPLE = new URL("../../examples/model", import.meta.url).pathname;
const WASM = ["--quiet", "--device", "wasm", "--threads", "1"];

/** Initialises `folder/model` into `out`. */
function initInto(folder: string, out: string, ...more: string[]) {
  return succeeds([
    ...["init", `${folder}/model`, "-o", out, "--method", "qalora"],
    ...["--rank", "2", ...WASM, ...more],
  ]);
}

/** Puts `values` into the first elements of a tensor of a safetensors file. */
async function overwrite(
  path: string,
  tensor: string,
  values: Float32Array<ArrayBuffer>,
): Promise<void> {
  const bytes = await Deno.readFile(path);
  const size = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(
    new TextDecoder().decode(bytes.subarray(8, 8 + size)),
  );
  bytes.set(
    new Uint8Array(values.buffer),
    8 + size + header[tensor].data_offsets[0],
  );
  await Deno.writeFile(path, bytes);
}

/** Every verb that puts the adapter of `out` on its backbone. */
function verbs(folder: string, out: string): string[][] {
  return [
    ["train", out, "--data", `${folder}/data.txt`, "--block", "16", ...WASM],
    ["generate", out, "--prompt", "a", ...WASM],
    ["merge", out, "-o", `${folder}/merged`, ...WASM],
  ];
}

/** Asserts that every verb fails with `line` and changes nothing. */
async function refusedByAll(
  folder: string,
  out: string,
  line: RegExp,
): Promise<void> {
  const before = await readTree(folder);
  for (const args of verbs(folder, out)) await failsWith(args, line);
  assert.deepEqual(await readTree(folder), before);
}

Deno.test("QA-LoRA: an adapter of another base is refused by every verb", () =>
  withTrainable(async (folder) => {
    const [one, other] = [`${folder}/one`, `${folder}/other`];
    await initInto(folder, one);
    await initInto(folder, other, "--scale", "mse");
    await Deno.remove(`${one}/adapter`, { recursive: true });
    await Deno.rename(`${other}/adapter`, `${one}/adapter`);
    await refusedByAll(
      folder,
      one,
      /^loqa: Cannot use the adapter .*\/one\/adapter: it belongs to the quantised weights with the fingerprint [0-9a-f]{64}, those of .*\/one\/backbone have [0-9a-f]{64}$/m,
    );
    const named = ["--adapter", `x=${one}/adapter`];
    await failsWith(
      ["generate", one, "--prompt", "a", ...named, ...WASM],
      /belongs to the quantised weights with the fingerprint/,
    );
  }));

Deno.test("QA-LoRA: a merged model refuses the adapter that it has taken up", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    await initInto(folder, out, "--iters", "1");
    await succeeds(["merge", out, "-o", `${folder}/merged`, ...WASM]);
    await failsWith(
      [
        ...["merge", `${folder}/merged`, "--adapter", `${out}/adapter`],
        ...["-o", `${folder}/twice`, ...WASM],
      ],
      /belongs to the quantised weights with the fingerprint/,
    );
    assert.equal(await there(`${folder}/twice`), false);
  }));

Deno.test("QA-LoRA: groups that are no multiple of the base's are refused by every verb, all modules in one line", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    await initInto(folder, out);
    const path = `${out}/adapter/adapter_config.json`;
    const config = JSON.parse(await Deno.readTextFile(path));
    // 32 inputs make one group of 48 as they make one of 32; 48 inputs then make one, and not two.
    config.use_qalora = false;
    config.loqa = { qalora_group_size: 48, pooling: "sum" };
    await Deno.writeTextFile(path, JSON.stringify(config));
    await refusedByAll(
      folder,
      out,
      /^loqa: Cannot .*(layers\.\d\.self_attn\.[kqvo]_proj is quantised in groups of 32, the adapter's of 48(; )?|layers\.\d\.mlp\.\w+ is [^;]+(; )?|model\.)+$/m,
    );
  }));

Deno.test("QA-LoRA: scales that are no numbers are refused as a base and in a merge", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    await initInto(folder, out);
    const tensor = "model.layers.1.mlp.up_proj.weight";
    await overwrite(
      `${out}/backbone/model.safetensors`,
      `${tensor}.scales`,
      Float32Array.of(NaN),
    );
    const before = await readTree(folder);
    await failsWith(
      [
        ...["init", `${folder}/model`, "--base", `${out}/backbone`],
        ...["--method", "qalora", "--rank", "1"],
        ...["-o", `${folder}/again`, ...WASM],
      ],
      /^loqa: Cannot use .*\/backbone as the base of .*\/model: model\.layers\.1\.mlp\.up_proj\.weight has NaN among its scales, wanted finite values$/m,
    );
    await failsWith(
      ["merge", out, "-o", `${folder}/merged`, ...WASM],
      /^loqa: Cannot merge the adapter into .*: model\.layers\.1\.mlp\.up_proj has NaN in its scales$/m,
    );
    assert.deepEqual(await readTree(folder), before);
  }));

Deno.test("QA-LoRA: formats without groups, and a base of them, are refused", () =>
  withTrainable(async (folder) => {
    const start = ["init", `${folder}/model`, "--method", "qalora", ...WASM];
    const line =
      /^loqa: Cannot initialise QA-LoRA: wanted affine groups \(int5, int4, int3, int2\), model\.layers\.0\..* is nf4, and 13 more have none either$/m;
    await failsWith(
      [...start, "-o", `${folder}/out`, "--format", "nf4"],
      line,
    );
    await succeeds([
      ...["init", `${folder}/model`, "-o", `${folder}/nf4`, ...WASM],
      ...["--method", "qlora", "--rank", "2"],
    ]);
    await failsWith(
      [...start, "-o", `${folder}/out`, "--base", `${folder}/nf4/backbone`],
      line,
    );
    assert.equal(await there(`${folder}/out`), false);
    assert.equal(await there(`${folder}/out.partial`), false);
  }));

Deno.test("QA-LoRA: settings of an adapter that contradict themselves", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(
      `${folder}/adapter_config.json`,
      JSON.stringify({
        peft_type: "LORA",
        use_qalora: true,
        qalora_group_size: 0,
      }),
    );
    await failsWith(
      ["inspect", folder],
      /^loqa: Cannot read ".*\/adapter_config\.json": qalora_group_size: wanted a whole number >= 1, got "0"$/m,
    );
  }));

Deno.test("QA-LoRA: a GPTQ base whose columns are reordered, and a GGUF file of another architecture", () =>
  inFolder(async (folder) => {
    const gptq = `${folder}/gptq`;
    await Deno.mkdir(gptq);
    const from = `${GOLDEN}/affine/gptq-act-order`;
    await Deno.copyFile(`${from}.safetensors`, `${gptq}/model.safetensors`);
    await Deno.copyFile(`${from}.json`, `${gptq}/config.json`);
    const llama = await Deno.readFile(`${GOLDEN}/io/llama.gguf`);
    const key = new TextEncoder().encode("general.architecture");
    const at = llama.findIndex((_, i) =>
      key.every((x, k) => llama[i + k] === x)
    );
    // Behind the key are the type and the length of its value, 4 and 8 bytes.
    llama.set(new TextEncoder().encode("rwkv6"), at + key.length + 12);
    const gguf = `${folder}/model.gguf`;
    await Deno.writeFile(gguf, llama);
    const before = await readTree(folder);
    for (
      const [model, line] of [
        [
          gptq,
          /^loqa: Cannot read .*gptq.*model\.layers\.0\.fc.*act-order.*g_idx/m,
        ],
        [gguf, /^loqa: Cannot read .*model\.gguf.*"rwkv6"/m],
      ] as const
    ) {
      const qalora = ["--method", "qalora", "-o", `${folder}/out`, ...WASM];
      await failsWith(["init", model, ...qalora], line);
      const from = ["--base", model, ...qalora];
      await failsWith(["init", `${EXAMPLE}`, ...from], line);
    }
    assert.deepEqual(await readTree(folder), before);
  }));

import assert from "node:assert/strict";
import { rawSafetensors } from "../unit/io/helpers.ts";
import { outcome, spawnLoqa } from "../helpers/cli.ts";
import {
  inFolder,
  readTree,
  safetensorsBytes,
  tinyLlama,
  writeModel,
} from "../helpers/model.ts";
import { failsWith, there } from "./work.ts";

const GGUF = new URL("../golden/io/llama.gguf", import.meta.url).pathname;
const Q = "model.layers.0.self_attn.q_proj.weight";

/** Runs `loqa init` on what `prepare` makes; asserts one line that matches and no output. */
async function refuses(
  line: RegExp,
  prepare: (folder: string) => Promise<string>,
  ...args: string[]
): Promise<void> {
  await inFolder(async (folder) => {
    const model = await prepare(folder);
    const out = `${folder}/out`;
    // A rank that every layer can have, or there would be a second line.
    const rank = args.includes("--rank") ? [] : ["--rank", "4"];
    await failsWith(
      ["init", model, "-o", out, "--quiet", ...rank, ...args],
      line,
    );
    assert.equal(await there(out), false);
  });
}

/** A model folder whose file of tensors is `bytes`. */
function folderWith(
  bytes: Uint8Array,
): (folder: string) => Promise<string> {
  return async (folder) => {
    await writeModel(`${folder}/model`, tinyLlama());
    await Deno.writeFile(`${folder}/model/model.safetensors`, bytes);
    return `${folder}/model`;
  };
}

const write = (name: string, bytes: Uint8Array | string) =>
async (
  folder: string,
): Promise<string> => {
  const path = `${folder}/${name}`;
  await Deno.writeFile(
    path,
    typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes,
  );
  return path;
};

const whole = await safetensorsBytes(tinyLlama().tensors);
const gguf = await Deno.readFile(GGUF);

Deno.test("no model there", () =>
  refuses(
    /^loqa: Cannot open ".*\/model": no such file or folder/,
    (folder) => Promise.resolve(`${folder}/model`),
  ));

Deno.test("an empty folder", () =>
  refuses(
    /^loqa: Cannot open ".*": wanted a model .*, got no files$/m,
    async (folder) => {
      await Deno.mkdir(`${folder}/model`);
      return `${folder}/model`;
    },
  ));

Deno.test("a link that leads nowhere", () =>
  refuses(/": no such file or folder/, async (folder) => {
    await Deno.symlink(`${folder}/gone`, `${folder}/model`);
    return `${folder}/model`;
  }));

Deno.test("a folder where the tensors should be", () =>
  refuses(/^loqa: Cannot open /, async (folder) => {
    await Deno.mkdir(`${folder}/model/model.safetensors`, { recursive: true });
    return `${folder}/model`;
  }));

Deno.test("a file of a kind nobody knows", () =>
  refuses(/^loqa: Cannot open ".*\.txt": /, write("model.txt", "hello")));

for (
  const [name, bytes] of [
    ["cut in its header", whole.subarray(0, 200)],
    ["cut in its tensors", whole.subarray(0, whole.length - 9)],
    ["cut after five bytes", whole.subarray(0, 5)],
    ["empty", new Uint8Array()],
    ["longer than its header says", new Uint8Array([...whole, 0])],
    ["of noise", crypto.getRandomValues(new Uint8Array(4096)).fill(0xff, 0, 8)],
    [
      "whose header is said to be an exabyte",
      Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0x10, 0x7b, 0x7d),
    ],
    [
      "with a tensor larger than the file",
      rawSafetensors({
        [Q]: {
          dtype: "F32",
          shape: [1 << 20, 1 << 20],
          data_offsets: [0, 2 ** 42],
        },
      }, 64),
    ],
    [
      "with a shape that belies its size",
      rawSafetensors({
        [Q]: { dtype: "F32", shape: [100, 100], data_offsets: [0, 64] },
      }, 64),
    ],
    [
      "with tensors one over the other",
      rawSafetensors({
        [Q]: { dtype: "F32", shape: [4, 4], data_offsets: [0, 64] },
        b: { dtype: "F32", shape: [4, 4], data_offsets: [0, 64] },
      }, 64),
    ],
    [
      "with a header over several lines that is no JSON",
      rawSafetensors('{\n "a": \n oops\n}', 8),
    ],
  ] as const
) {
  Deno.test(`a safetensors file ${name}`, () =>
    refuses(/^loqa: Cannot .*model\.safetensors/, folderWith(bytes)));
}

for (
  const [name, index, line] of [
    ["that is no JSON", "{\n  oops\n}", /index\.json": it is not JSON: /],
    ["without a map", "{}", /index\.json": it has no object weight_map$/m],
    [
      "of files that are not there",
      `{"weight_map": {"${Q}": "x.safetensors"}}`,
      /index\.json": the file "x\.safetensors" is missing$/m,
    ],
    [
      "of tensors that are not there",
      `{"weight_map": {"${Q}x": "part.safetensors"}}`,
      /weightx" is not in "part\.safetensors"/,
    ],
    [
      "that leads out of the folder",
      `{"weight_map": {"${Q}": "../model/part.safetensors"}}`,
      /index\.json": .* is not the name of a file beside it$/m,
    ],
  ] as const
) {
  Deno.test(`an index ${name}`, () =>
    refuses(line, async (folder) => {
      await writeModel(`${folder}/model`, tinyLlama());
      // A whole file of the usual name would go before the index.
      await Deno.rename(
        `${folder}/model/model.safetensors`,
        `${folder}/model/part.safetensors`,
      );
      await Deno.writeTextFile(
        `${folder}/model/model.safetensors.index.json`,
        index,
      );
      return `${folder}/model`;
    }));
}

Deno.test("a config over several lines that is no JSON", () =>
  refuses(/^loqa: Cannot read ".*config\.json": /, async (folder) => {
    await writeModel(`${folder}/model`, tinyLlama());
    await Deno.writeTextFile(`${folder}/model/config.json`, "{\n oops:\n 1}");
    return `${folder}/model`;
  }));

function patched(at: number, ...bytes: number[]): Uint8Array {
  const copy = gguf.slice();
  copy.set(bytes, at);
  return copy;
}

for (
  const [name, bytes] of [
    ["cut in its tables", gguf.subarray(0, 700)],
    ["cut in its tensors", gguf.subarray(0, gguf.length - 1000)],
    ["of another version", patched(4, 99)],
    ["of another magic", patched(0, 0x58)],
    ["that promises 2^60 tensors", patched(8, 0, 0, 0, 0, 0, 0, 0, 0x10)],
    ["that promises 2^60 values", patched(16, 0, 0, 0, 0, 0, 0, 0, 0x10)],
  ] as const
) {
  Deno.test(`a GGUF file ${name}`, () =>
    refuses(/^loqa: Cannot .*model\.gguf/, write("model.gguf", bytes)));
}

for (const [bad, dtype] of [[NaN, "f32"], [-Infinity, "f16"]] as const) {
  Deno.test(`a weight that holds ${bad} is named with its row and column`, () =>
    refuses(
      new RegExp(
        `^loqa: Cannot quantize model\\.layers\\.1\\.mlp\\.up_proj: wanted finite values, got ${bad} at row 3, column 5\n$`,
      ),
      async (folder) => {
        const model = tinyLlama();
        const values = new Float32Array(35 * 21).fill(0.1);
        values[3 * 21 + 5] = bad;
        model.tensors["model.layers.1.mlp.up_proj.weight"] = {
          shape: [35, 21],
          dtype,
          values,
        };
        await writeModel(`${folder}/model`, model);
        return `${folder}/model`;
      },
    ));
}

Deno.test("a layer of integers", () =>
  refuses(
    /^loqa: Cannot read tensor ".*q_proj\.weight" as f32: it holds i64 values$/m,
    async (folder) => {
      const model = tinyLlama();
      model.tensors[Q] = { shape: [21, 21], dtype: "i64" };
      await writeModel(`${folder}/model`, model);
      return `${folder}/model`;
    },
  ));

Deno.test("targets, plans and formats that do not fit the model", async () => {
  const model = async (folder: string) => {
    await writeModel(`${folder}/model`, tinyLlama());
    return `${folder}/model`;
  };
  const cases: [RegExp, ...string[]][] = [
    [/Cannot find the target "c_attn" in /, "--target", "c_attn"],
    [/it is an embedding, wanted linear layers/, "--target", "embed_tokens"],
    [
      /Cannot use the rank pattern "own_proj": /,
      "--rank-pattern",
      "own_proj=2",
    ],
    [/Cannot use the mixed plan "half": /, "--mixed", "half"],
    [/in int4 for bitsandbytes/, "--format", "int4", "--backbone", "bnb"],
    [/scale "minmax" does not fit nf4/, "--scale", "minmax"],
    [
      /"\/nowhere\/at\/all": no such file or folder/,
      "--base",
      "/nowhere/at/all",
    ],
  ];
  for (const [line, ...args] of cases) await refuses(line, model, ...args);
});

Deno.test("a folder that holds other things is left as it is", () =>
  inFolder(async (folder) => {
    await writeModel(`${folder}/model`, tinyLlama());
    const before = await readTree(folder);
    await failsWith(
      ["init", `${folder}/model`, "-o", `${folder}/model`, "--quiet"],
      /^loqa: Cannot write to .*: it is there already and no loqa output: it holds .*config\.json, model\.safetensors.*; wanted a new folder$/m,
    );
    assert.deepEqual(await readTree(folder), before);
  }));

Deno.test("a place that cannot be written", () =>
  inFolder(async (folder) => {
    await writeModel(`${folder}/model`, tinyLlama());
    await Deno.writeTextFile(`${folder}/file`, "");
    await failsWith(
      ["init", `${folder}/model`, "-o", `${folder}/file/out`, "--quiet"],
      /^loqa: Cannot .*\/file\/out\.partial": a part of the path is no folder$/m,
    );
  }));

Deno.test("a model that changes while it is read", () =>
  inFolder(async (folder) => {
    await writeModel(
      `${folder}/model`,
      tinyLlama({ layers: 6, hidden: 161, inner: 231 }),
    );
    const out = `${folder}/out`;
    const child = spawnLoqa([
      ...["init", `${folder}/model`, "-o", out, "--quiet"],
      ...["--safe-interval", "0", "--rank", "4"],
    ]);
    while (!await there(`${out}.partial/journal.json`)) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await Deno.truncate(`${folder}/model/model.safetensors`, 5000);
    const { code, stderr } = await outcome(child);
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      /^loqa: Cannot read ".*model\.safetensors": it ended at byte \d+, it held \d+ when opened\n$/,
    );
    assert.equal(await there(out), false);
  }));

import assert from "node:assert/strict";
import { openDevice } from "../../../../src/backend/open.ts";
import { adapterConfig } from "../../../../src/io/peft/config.ts";
import { loadCausal } from "../../../../src/models/load/load.ts";
import { findModel } from "../../../../src/models/load/locate.ts";
import { openTuned } from "../../../../src/models/load/with_adapters.ts";
import { loqa } from "../../../helpers/cli.ts";
import {
  assertNear,
  smallConfig,
  smallWeights,
} from "../../../helpers/llama.ts";
import {
  inFolder,
  readTree,
  safetensorsBytes,
  type SmallTensors,
  writeModel,
} from "../../../helpers/model.ts";

const Q = "layers.0.self_attn.q_proj";
const TABLE = "model.embed_tokens";
const [WORDS, HIDDEN] = [31, 12];

/** Writes an adapter of these tensors, by their names in the file without `base_model.model.`. */
async function writeAdapter(
  folder: string,
  tensors: SmallTensors,
  targets: readonly string[] = ["q_proj"],
): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const settings = { targetModules: targets, rank: 2, alpha: 4 };
  await Deno.writeTextFile(
    `${folder}/adapter_config.json`,
    JSON.stringify(adapterConfig(settings)),
  );
  const named = Object.entries(tensors).map(([name, tensor]) =>
    [`base_model.model.${name}`, tensor] as const
  );
  await Deno.writeFile(
    `${folder}/adapter_model.safetensors`,
    await safetensorsBytes(Object.fromEntries(named)),
  );
}

const factors = (module: string): SmallTensors => ({
  [`${module}.lora_A.weight`]: { shape: [2, HIDDEN] },
  [`${module}.lora_B.weight`]: { shape: [16, 2] },
});

/** Runs `work` with a folder that holds a tied `model`. */
function withModel(
  work: (folder: string) => Promise<void>,
  changes: Record<string, unknown> = {},
): Promise<void> {
  return inFolder(async (folder) => {
    const config = smallConfig({ "tie_word_embeddings": true });
    await writeModel(`${folder}/model`, {
      config: { ...config, ...changes },
      tensors: smallWeights(config),
    });
    await work(folder);
  });
}

const opened = async (folder: string) =>
  await openTuned(await findModel(`${folder}/model`), {
    a: `${folder}/adapter`,
  });

Deno.test("modules of an adapter are found whatever wrapped its model", () =>
  withModel(async (folder) => {
    for (
      const wrap of [
        ...["model.", "", "model.language_model.", "language_model.model."],
        ...["module.model.", "_orig_mod.model.", "base_model.model.model."],
      ]
    ) {
      await writeAdapter(`${folder}/adapter`, factors(`${wrap}${Q}`));
      await using tuned = await opened(folder);
      const [factor] = tuned.adapters.get("a")!;
      assert.equal(factor.module, `model.${Q}`, wrap);
    }
  }));

Deno.test("an adapter of a model whose modules have other names is refused with both names", () =>
  withModel(async (folder) => {
    await writeAdapter(
      `${folder}/adapter`,
      factors("model.decoder.layers.7.self_attn.q_proj"),
    );
    using device = await openDevice("reference");
    await assert.rejects(
      loadCausal(device, `${folder}/model`, {
        adapters: { a: `${folder}/adapter` },
      }),
      /it has factors of model\.decoder\.layers\.7\.self_attn\.q_proj, the model's layers are called model\.layers\.0\.self_attn\.q_proj$/,
    );
  }));

/** Asserts that merging is refused with an error and leaves no output. */
async function mergeFails(folder: string, ...words: string[]): Promise<void> {
  const before = await readTree(folder);
  const { code, stderr } = await loqa(
    ...["merge", `${folder}/model`, "--adapter", `${folder}/adapter`],
    ...["-o", `${folder}/merged`, "--quiet", "--device", "wasm"],
  );
  assert.equal(code, 1, stderr);
  assert.match(stderr, /^loqa: [^\n]*\n$/);
  for (const word of words) assert.ok(stderr.includes(word), stderr);
  assert.deepEqual(await readTree(folder), before);
}

Deno.test("an adapter with another vocabulary, or with what has no place, is refused before a merge writes", () =>
  withModel(async (folder) => {
    for (const rows of [WORDS + 4, WORDS - 4]) {
      await writeAdapter(`${folder}/adapter`, {
        ...factors(`model.${Q}`),
        [`${TABLE}.weight`]: { shape: [rows, HIDDEN] },
      });
      await mergeFails(
        folder,
        `it brings a vocabulary of ${rows} (${TABLE}.weight), the model has ${WORDS}`,
        `resize_token_embeddings(${rows})`,
      );
    }
    await writeAdapter(`${folder}/adapter`, {
      ...factors(`model.${Q}`),
      "score.weight": { shape: [2, HIDDEN] },
    });
    await mergeFails(folder, "it holds score.weight in full");
  }));

Deno.test("factors of a table that is the head, too: in the table alone, merged as in PEFT, not trained", () =>
  withModel(async (folder) => {
    const a = Float32Array.from({ length: 2 * WORDS }, (_, i) => Math.sin(i));
    const b = Float32Array.from({ length: 2 * HIDDEN }, (_, i) => Math.cos(i));
    await writeAdapter(`${folder}/adapter`, {
      ...factors(`model.${Q}`),
      [`${TABLE}.lora_embedding_A`]: { shape: [2, WORDS], values: a },
      [`${TABLE}.lora_embedding_B`]: { shape: [HIDDEN, 2], values: b },
    }, ["q_proj", "embed_tokens"]);
    await using tuned = await opened(folder);
    const { checkpoint, file } = tuned;
    assert.equal(checkpoint.config.tie_word_embeddings, false);
    const plain = await file.readF32(`${TABLE}.weight`);
    assert.deepEqual(await checkpoint.readF32("lm_head.weight"), plain);
    const wanted = plain.map((x, e) => {
      const [token, feature] = [Math.floor(e / HIDDEN), e % HIDDEN];
      const sum = [0, 1].map((k) => a[k * WORDS + token] * b[feature * 2 + k]);
      return x + 2 * (sum[0] + sum[1]);
    });
    assertNear(await checkpoint.readF32(`${TABLE}.weight`), wanted, {
      ...{ tolerance: 1e-6, what: "table" },
    });
    assert.deepEqual(
      tuned.adapters.get("a")!.map(({ module }) => module),
      [`model.${Q}`],
    );
    await assert.rejects(
      openTuned(await findModel(`${folder}/model`), {
        a: `${folder}/adapter`,
      }, { factors: false }),
      /has factors of model\.embed_tokens, which can be run and merged here, not trained/,
    );
  }));

Deno.test("positions that are not run here: merged all the same, and said so", () =>
  withModel(async (folder) => {
    await writeAdapter(`${folder}/adapter`, factors(`model.${Q}`));
    const { code, stdout, stderr } = await loqa(
      ...["merge", `${folder}/model`, "--adapter", `${folder}/adapter`],
      ...["-o", `${folder}/merged`, "--quiet", "--device", "wasm"],
    );
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^not compared: .*"nowhere"/m);
  }, { "rope_scaling": { "rope_type": "nowhere", factor: 2 } }));

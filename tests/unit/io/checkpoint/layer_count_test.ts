// deno-lint-ignore-file camelcase -- the keys are those of Hugging Face's files
import assert from "node:assert/strict";
import { layersReason } from "../../../../src/io/checkpoint/layer_count.ts";
import { openFileSet } from "../../../../src/io/recognise.ts";
import { smallConfig, smallWeights } from "../../../helpers/llama.ts";
import { openModel, safetensorsBytes } from "../../../helpers/model.ts";
import { files, rejects } from "../helpers.ts";

const reason = (
  names: readonly string[],
  config: Record<string, unknown>,
): string | undefined => layersReason(names, { where: "m", config })?.message;

const stack = (
  count: number,
  { from = 0, prefix = "model.layers" } = {},
) =>
  Array.from(
    { length: count },
    (_, i) => `${prefix}.${from + i}.q_proj.weight`,
  );

Deno.test("layers of the tensors are those of the config, in any family's names", () => {
  for (
    const [names, config] of [
      [stack(3), { num_hidden_layers: 3 }],
      [stack(3, { prefix: "transformer.h" }), { n_layer: 3 }],
      [stack(3, { prefix: "h" }), { n_layers: 3 }],
      [stack(3, { prefix: "encoder.block" }), { num_layers: 3 }],
      [stack(3, { prefix: "0.auto_model.encoder.layer" }), {
        num_hidden_layers: 3,
      }],
      [
        [
          ...stack(5, { prefix: "vision.layers" }),
          ...stack(2, { prefix: "model.language_model.layers" }),
        ],
        { text_config: { num_hidden_layers: 2 } },
      ],
      // Layers behind the last that predict more tokens at once.
      [stack(4), { num_hidden_layers: 3, num_nextn_predict_layers: 1 }],
      [stack(3), { num_hidden_layers: 3, num_nextn_predict_layers: 1 }],
      // One layer for all twelve.
      [stack(1), { num_hidden_layers: 12, num_hidden_groups: 1 }],
      [["w"], {}],
    ] as const
  ) {
    assert.equal(reason(names, config), undefined, JSON.stringify(config));
  }
});

Deno.test("a part of the layers, layers too many, none, or a count that is none are told", () => {
  for (
    const [names, config, said] of [
      [stack(7), { num_hidden_layers: 14 }, "14, its tensors have 7 names"],
      [
        [...stack(7), ...stack(7)],
        { num_hidden_layers: 14 },
        "model.layers.0 to 6",
      ],
      [
        [...stack(7, { from: 7 }), ...stack(7)].slice(0, 7),
        { n_layer: 7 },
        "no model.layers.0",
      ],
      [
        stack(4),
        { num_hidden_layers: 3 },
        "model.layers.0 to 3: wanted no layers behind the last",
      ],
      [
        stack(5),
        { num_hidden_layers: 3, num_nextn_predict_layers: 1 },
        "model.layers.0 to 4",
      ],
      [
        ["embed_tokens.weight", "norm.weight"],
        { num_hidden_layers: 2 },
        "no numbered layers",
      ],
      [stack(4), { num_hidden_layers: 0 }, ">= 1"],
      [
        stack(4),
        { num_hidden_layers: 1e9 },
        "1000000000, its tensors have 4 names",
      ],
    ] as const
  ) {
    const told = reason(names, config) ?? "nothing";
    assert.ok(told.startsWith('Cannot read "m": its config says '), told);
    assert.ok(told.includes(said), told);
  }
});

Deno.test("a checkpoint with other layers than its config is refused when it is opened, and described", async () => {
  for (const count of [1, 3, 1e6, 1e9]) {
    const config = smallConfig();
    const tensors = smallWeights(config);
    const changed = { ...config, num_hidden_layers: count };
    await rejects(
      () => openModel({ config: changed, tensors }),
      SyntaxError,
      `its config says num_hidden_layers ${count}`,
    );
    await using model = await openFileSet(
      files({
        "model.safetensors": await safetensorsBytes(tensors),
        "config.json": JSON.stringify(changed),
      }),
      { describe: true },
    );
    assert.equal(model.tensors.size, Object.keys(tensors).length);
    assert.match(model.notes![0], /num_hidden_layers/);
  }
});

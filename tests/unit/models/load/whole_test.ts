import assert from "node:assert/strict";
import { openDevice } from "../../../../src/backend/open.ts";
import { init } from "../../../../src/init/run.ts";
import { checkWhole } from "../../../../src/models/load/whole.ts";
import { exists } from "../../../../src/io/files/deno.ts";
import { smallConfig, smallWeights } from "../../../helpers/llama.ts";
import {
  inFolder,
  openModel,
  type SmallTensors,
} from "../../../helpers/model.ts";

const Q = "model.layers.1.self_attn.q_proj.weight";

const small = (
  change: (tensors: SmallTensors) => void,
  config: Record<string, unknown> = {},
) => {
  const tensors = smallWeights(smallConfig());
  change(tensors);
  return openModel({ config: smallConfig(config), tensors });
};

Deno.test("tensors of a known architecture are held against its config", async () => {
  const wrong: [RegExp, (tensors: SmallTensors) => void, object?][] = [
    [/q_proj\.weight" is missing$/, (t) => delete t[Q]],
    [/embed_tokens\.weight" is missing$/, (t) => {
      delete t["model.embed_tokens.weight"];
    }],
    [/q_proj\.weight" is \[3, 12\], wanted \[16, 12\]$/, (t) => {
      t[Q] = { shape: [3, 12] };
    }],
    [/q_proj\.bias" has no place in the model$/, (t) => {
      t[Q.replace("weight", "bias")] = { shape: [16] };
    }],
    [/q_proj\.bias" is missing; .*and 2 more$|q_proj\.bias" is missing/, () => {
    }, { attention_bias: true }],
  ];
  for (const [message, change, config] of wrong) {
    await using model = await small(change, { ...config });
    assert.throws(() => checkWhole(model), {
      name: "SyntaxError",
      message,
    });
  }
});

Deno.test("heads of other tasks, what files carry along, and what is not understood are left alone", async () => {
  const fine: [(tensors: SmallTensors) => void, object?][] = [
    [() => {}],
    [(t) => delete t["lm_head.weight"]],
    [(t) => t["score.weight"] = { shape: [2, 12] }],
    [(t) => t["model.layers.0.self_attn.rotary_emb.inv_freq"] = { shape: [2] }],
    [(t) => t["model.layers.0.own.weight"] = { shape: [2] }, {
      model_type: "another",
    }],
    [(t) => delete t[Q], { rope_scaling: { type: "yarn", factor: 2 } }],
  ];
  for (const [change, config] of fine) {
    await using model = await small(change, { ...config });
    checkWhole(model);
  }
});

Deno.test("init refuses a checkpoint that is not whole before it writes anything", () =>
  inFolder(async (folder) => {
    using device = await openDevice("wasm", { threads: 1 });
    await using model = await small((t) => delete t[Q]);
    const out = `${folder}/out`;
    await assert.rejects(
      init(model, {
        method: "loftq",
        rank: 2,
        alpha: 2,
        iterations: 1,
        seed: 0,
      }, { out, device }),
      /^SyntaxError: Cannot use the model "tiny", .*q_proj\.weight" is missing$/,
    );
    assert.ok(!await exists(`${out}.partial`));
  }));

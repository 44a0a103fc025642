import assert from "node:assert/strict";
import { methodCosts } from "../../../src/plan/cost.ts";
import { KNOWN_MODELS } from "../../../src/plan/known.ts";
import type { ConfigJson } from "../../../src/families/config_reader.ts";
import { modelShape } from "../../../src/plan/shape.ts";

interface Row {
  readonly config: ConfigJson;
  readonly parameters: number;
  readonly linearParameters: number;
  readonly loraParameters: number;
}

const GOLDEN: Record<string, Row> = JSON.parse(
  await Deno.readTextFile(
    new URL("../../golden/plan/plan.json", import.meta.url),
  ),
);

const OPTIONS = { group: 32, bits: 4, sequence: 64, batch: 1 } as const;

for (const [name, row] of Object.entries(GOLDEN)) {
  Deno.test(`${name}: as many parameters as transformers and PEFT count`, () => {
    for (const config of [row.config, KNOWN_MODELS[name] ?? row.config]) {
      const shape = modelShape(config, name);
      assert.equal(shape.linearParameters, row.linearParameters);
      assert.equal(
        shape.linearParameters + shape.otherParameters,
        row.parameters,
      );
      const { full, lora } = methodCosts(shape, { ...OPTIONS, rank: 8 });
      assert.equal(full.trainableParameters, row.parameters);
      assert.equal(lora.trainableParameters, row.loraParameters);
    }
  });
}

Deno.test("deberta v2, grouped convolution: as many parameters as transformers 5.23.0 counts", () => {
  const { config } =
    GOLDEN["deberta v2, own positions, convolution, narrow embedding"];
  const grouped = { ...config, "embedding_size": 48, "conv_groups": 2 };
  const shape = modelShape(grouped, "grouped");
  assert.equal(shape.linearParameters + shape.otherParameters, 85440);
});

Deno.test("a model that is not known is refused by its type, a size that is missing by its key", () => {
  assert.throws(
    () => modelShape({ model_type: "t5" }, "here"),
    (error: Error) =>
      error instanceof TypeError && /plan for here.*llama.*"t5"/.test(
        error.message,
      ),
  );
  assert.throws(() => modelShape({}, "here"), /got none/);
  const known = KNOWN_MODELS["llama-7b"];
  assert.throws(
    () => modelShape({ ...known, hidden_size: "wide" }, "here"),
    (error: Error) =>
      error instanceof SyntaxError && /hidden_size, got "wide"/.test(
        error.message,
      ),
  );
});

Deno.test("a norm of each head keeps the values of all heads for the backward pass", () => {
  const { config } = GOLDEN["qwen3, its own head_dim"];
  const kept = (model_type: string) =>
    modelShape({ ...config, model_type, "head_dim": 128 }, "here")
      .layers[0].kept;
  assert.equal(kept("qwen3") - kept("llama"), (4 + 2) * 128);
});

Deno.test("each model of the papers by name", () => {
  for (const [name, config] of Object.entries(KNOWN_MODELS)) {
    assert.ok(modelShape(config, name).linearParameters > 0, name);
  }
});

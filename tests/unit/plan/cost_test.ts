import assert from "node:assert/strict";
import {
  type CostOptions,
  type MethodCost,
  methodCosts,
} from "../../../src/plan/cost.ts";
import { KNOWN_MODELS } from "../../../src/plan/known.ts";
import { modelShape } from "../../../src/plan/shape.ts";

const OPTIONS: CostOptions = {
  rank: 64,
  group: 32,
  bits: 4,
  sequence: 512,
  batch: 1,
};

const costs = (name: string, options: Partial<CostOptions> = {}) =>
  methodCosts(modelShape(KNOWN_MODELS[name], name), {
    ...OPTIONS,
    ...options,
  });

// Xu et al., QA-LoRA (2309.14717), Table 2: learnable parameters in millions.
const PUBLISHED = {
  "llama-7b": [160, 89],
  "llama-13b": [250, 140],
  "llama-33b": [488, 272],
  "llama-65b": [800, 447],
};

for (const [name, [lora, qalora]] of Object.entries(PUBLISHED)) {
  Deno.test(`${name} at rank 64, group 32: the published counts`, () => {
    const found = costs(name);
    const millions = (cost: MethodCost) =>
      Math.round(cost.trainableParameters / 1e6);
    assert.equal(millions(found.lora), lora);
    assert.equal(millions(found.qlora), lora);
    assert.equal(millions(found.loftq), lora);
    assert.equal(millions(found.qalora), qalora);
  });
}

Deno.test("bits of a weight count scales and biases", () => {
  const { full, qlora, qalora } = costs("llama-7b");
  assert.equal(full.bitsPerWeight, 16);
  assert.equal(qlora.bitsPerWeight, 4.5);
  assert.equal(qalora.bitsPerWeight, 5);
  assert.equal(qalora.deployedBitsPerWeight, 5);
  const two = costs("llama-7b", { bits: 2 }).qalora;
  assert.equal(two.deployedBitsPerWeight, 3);
  const wide = costs("llama-7b", { bits: 3, group: 128 }).qalora;
  assert.equal(wide.bitsPerWeight, 3.25);
});

Deno.test("memory is the sum of its parts, and each grows with what it is for", () => {
  const base = costs("llama2-7b");
  for (const cost of Object.values(base)) {
    const sum = Object.values(cost.memory).reduce((a, b) => a + b, 0);
    assert.equal(cost.memoryBytes, sum);
    assert.equal(cost.memory.gradients, 4 * cost.trainableParameters);
    assert.equal(cost.memory.moments, 8 * cost.trainableParameters);
  }
  assert.equal(
    base.full.memory.weights,
    4 * base.full.trainableParameters,
  );
  const twice = costs("llama2-7b", { batch: 2 });
  const logits = 16 * 2 ** 20;
  assert.equal(
    twice.lora.memory.activations - logits,
    2 * (base.lora.memory.activations - logits),
  );
  const lean = costs("llama2-7b", { checkpointing: true });
  assert.ok(
    lean.full.memory.activations < base.full.memory.activations / 8,
  );
  assert.ok(lean.full.stepFlops > base.full.stepFlops);
});

Deno.test("kept values of a LLaMA layer, counted by hand", () => {
  const [layer] = modelShape({
    model_type: "llama",
    vocab_size: 10,
    hidden_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    intermediate_size: 24,
  }, "tiny").layers;
  // q, k, v, o, gate, up, down; two norms; the attention; the gated product.
  assert.equal(
    layer.kept,
    (8 + 4 + 4 + 8 + 24 + 24 + 8) + 2 * 8 + 8 + 24,
  );
});

Deno.test("a step's operations: 6 a parameter and token trained in full, 4 under a frozen base, and attention", () => {
  const shape = modelShape(KNOWN_MODELS["llama-7b"], "llama-7b");
  const found = methodCosts(shape, { ...OPTIONS, sequence: 1 });
  const attention = 3 * 32 * 4 * 4096;
  const head = 32000 * 4096;
  assert.equal(
    found.full.stepFlops,
    6 * (shape.linearParameters + head) + attention,
  );
  assert.equal(
    found.lora.stepFlops,
    4 * (shape.linearParameters + head) + attention +
      6 * found.lora.trainableParameters,
  );
});

Deno.test("an option that is none is refused by its name", () => {
  assert.throws(() => costs("bart-large", { rank: 0 }), /rank, got 0/);
  assert.throws(() => costs("bart-large", { group: 1.5 }), /group, got 1.5/);
});

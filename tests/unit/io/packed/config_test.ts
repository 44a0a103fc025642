import assert from "node:assert/strict";
import {
  modelConfig,
  modelConfigText,
  PACKED_WORDS,
  packedConfig,
} from "../../../../src/io/packed/config.ts";

const CONFIG = JSON.parse(
  `{"model_type":"llama","architectures":["LlamaForCausalLM"]}`,
);

Deno.test("packedConfig() has nothing at the top that makes a dense model", () => {
  const made = packedConfig(CONFIG);
  assert.equal(made.model_type, PACKED_WORDS);
  assert.deepEqual(
    Object.keys(made),
    ["model_type", "quantization_config", "loqa"],
  );
  assert.deepEqual(modelConfig(made), CONFIG);
});

Deno.test("modelConfig() reads what earlier versions wrote, and leaves all others alone", () => {
  const block = (name: string) => Object.fromEntries([["quant_method", name]]);
  const earlier = Object.fromEntries([["quantization_config", block("loqa")]]);
  assert.deepEqual(modelConfig({ ...CONFIG, ...earlier }), CONFIG);
  const other = {
    ...CONFIG,
    ...Object.fromEntries([["quantization_config", block("gptq")]]),
  };
  assert.equal(modelConfig(other), other);
});

Deno.test("modelConfigText() keeps a float a float", () => {
  const text = JSON.stringify(packedConfig({ theta: 0.5 }))
    .replace("0.5", "1.0");
  const own = modelConfigText(JSON.parse(text), text);
  assert.match(own, /"theta": 1\.0/);
  assert.equal(modelConfigText(CONFIG, "as it is"), "as it is");
});

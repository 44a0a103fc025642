import assert from "node:assert/strict";
import type { Adapter } from "../../../../src/io/peft/adapter.ts";
import {
  wholeTensorName,
  wholeTensors,
} from "../../../../src/io/peft/whole.ts";
import { plainReader } from "../../../../src/io/checkpoint/tensor_reader.ts";

/** An adapter that holds these besides its factors; each has its number among them as its value. */
function adapter(names: readonly string[]): Adapter {
  return {
    name: "some",
    others: new Map(names.map((name, i) => [
      name,
      plainReader(
        { name, dtype: "f32", shape: [1], bytes: 4 },
        () => Promise.resolve(new Uint8Array(Float32Array.of(i).buffer)),
      ),
    ])),
  } as unknown as Adapter;
}

async function valuesOf(of: Adapter): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const [name, reader] of wholeTensors(of)) {
    found[name] = (await reader.readF32(0, 1))[0];
  }
  return found;
}

Deno.test("wholeTensors(): heads and biases as PEFT names them, each once", async () => {
  const found = await valuesOf(adapter([
    "base_model.model.classifier.weight",
    "base_model.model.classifier.bias",
    // With `bias: all` PEFT stores these besides.
    "base_model.model.classifier.original_module.bias",
    "base_model.model.classifier.modules_to_save.bias",
    "base_model.model.pooler.modules_to_save.default.dense.bias",
    "base_model.model.bert.query.base_layer.bias",
    "base_model.model.bert.LayerNorm.bias",
  ]));
  assert.deepEqual(found, {
    "classifier.weight": 0,
    "classifier.bias": 1,
    "bert.query.bias": 5,
    "bert.LayerNorm.bias": 6,
    "pooler.dense.bias": 4,
  });
});

Deno.test("wholeTensorName(): what wholeTensors() reads again", async () => {
  const names = [
    wholeTensorName("classifier.weight"),
    wholeTensorName("bert.query.bias", { adapted: true }),
    wholeTensorName("bert.LayerNorm.bias", { adapted: false }),
  ];
  assert.deepEqual(names, [
    "base_model.model.classifier.weight",
    "base_model.model.bert.query.base_layer.bias",
    "base_model.model.bert.LayerNorm.bias",
  ]);
  assert.deepEqual(Object.keys(await valuesOf(adapter(names))), [
    "classifier.weight",
    "bert.query.bias",
    "bert.LayerNorm.bias",
  ]);
});

Deno.test("wholeTensors(): magnitudes and what else is not known are refused by name", () => {
  assert.throws(
    () =>
      wholeTensors(adapter([
        "base_model.model.q.lora_magnitude_vector.weight",
        "base_model.model.prompt_embeddings",
        "base_model.model.classifier.weight",
      ])),
    {
      name: "TypeError",
      message:
        'Cannot use the adapter "some": besides LoRA factors and whole modules it holds DoRA\'s magnitudes, base_model.model.q.lora_magnitude_vector.weight, base_model.model.prompt_embeddings',
    },
  );
});

import assert from "node:assert/strict";
import { readDecoderConfig } from "../../../src/families/decoder.ts";
import {
  decoderTensors,
  layerPrefix,
} from "../../../src/families/decoder_block.ts";
import { DECODERS } from "../../../src/families/decoders.ts";
import {
  familyOfArch,
  ggufName,
  headRows,
  huggingFaceName,
} from "../../../src/families/gguf_names.ts";
import { FAMILIES } from "../../../src/models/families.ts";
import { modelShape } from "../../../src/plan/shape.ts";
import { smallConfig } from "../../helpers/llama.ts";

for (const { type, block, gguf } of DECODERS) {
  Deno.test(`${type}: names, GGUF names and counts derive from its row`, () => {
    const json = smallConfig({
      ...{ model_type: type, attention_bias: true, mlp_bias: true },
    });
    const config = readDecoderConfig(json, "m");
    const tensors = decoderTensors(config);
    const names = new Set(tensors.map(({ name }) => name));
    assert.equal(names.size, tensors.length, "no name twice");
    for (let i = 0; i < config.layers; i++) {
      for (const { name } of block) {
        assert.ok(names.has(`${layerPrefix(i)}.${name}.weight`), name);
      }
    }
    for (const name of names) {
      assert.equal(huggingFaceName(ggufName(name)!), name);
      const turned = /\.[qk]_proj\./.test(name) && gguf.rows === "interleaved";
      assert.equal(headRows(name, config), turned ? config.headDim : undefined);
    }
    assert.equal(familyOfArch(gguf.arch)?.type, type);
    const { linearParameters, otherParameters } = modelShape(json, "m");
    assert.equal(
      linearParameters + otherParameters,
      tensors.reduce(
        (sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1),
        0,
      ),
    );
    assert.equal(
      FAMILIES.filter(({ types }) => types.includes(type)).length,
      1,
    );
  });
}

Deno.test("rows differ in type and GGUF architecture, and read their inputs from modules that they have", () => {
  for (const key of ["type", "model"] as const) {
    assert.equal(new Set(DECODERS.map((d) => d[key])).size, DECODERS.length);
  }
  assert.equal(
    new Set(DECODERS.map(({ gguf }) => gguf.arch)).size,
    DECODERS.length,
  );
  for (const { block } of DECODERS) {
    const seen = new Set<string>();
    for (const { name, sameInputAs } of block) {
      assert.ok(sameInputAs === undefined || seen.has(sameInputAs), name);
      seen.add(name);
    }
  }
});

// deno-lint-ignore-file camelcase -- the keys are those of Hugging Face's files
import assert from "node:assert/strict";
import { readDecoderConfig } from "../../../src/families/decoder.ts";
import { ropeFrequencies } from "../../../src/nn/rope.ts";
import { smallConfig } from "../../helpers/llama.ts";

const read = (changes: Record<string, unknown>) =>
  readDecoderConfig(smallConfig(changes), "m");

function llama3(): Record<string, number> {
  return {
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
}

function slidingQwen(
  changes: Record<string, unknown> = {},
): Record<string, unknown> {
  return { model_type: "qwen2", max_window_layers: 1, ...changes };
}

Deno.test("rope in the words of older files and of newer ones", () => {
  const wanted = {
    type: "llama3",
    factor: 8,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalLength: 8192,
  };
  for (
    const changes of [
      {
        rope_theta: 500000,
        rope_scaling: { rope_type: "llama3", ...llama3() },
      },
      { rope_theta: 500000, rope_scaling: { type: "llama3", ...llama3() } },
      {
        rope_parameters: {
          rope_theta: 500000,
          rope_type: "llama3",
          ...llama3(),
        },
      },
    ]
  ) {
    const { ropeTheta, ropeScaling } = read(changes);
    assert.deepEqual([ropeTheta, ropeScaling], [500000, wanted]);
  }
  assert.deepEqual(read({ rope_scaling: null }).ropeScaling, {
    type: "default",
  });
  assert.deepEqual(
    read({ rope_scaling: { type: "linear", factor: 2 } }).ropeScaling,
    { type: "linear", factor: 2 },
  );
});

Deno.test("rope_scaling beside rope_parameters: the same is fine, what disagrees is refused", () => {
  const linear = { rope_type: "linear", factor: 4 };
  for (
    const [old, now] of [
      [linear, { ...linear, rope_theta: 10000 }],
      [{ type: "linear", factor: 4 }, linear],
      [{}, linear],
      [null, linear],
      [linear, {}],
      [linear, null],
    ]
  ) {
    const { ropeScaling, ropeTheta } = read({
      rope_scaling: old,
      rope_parameters: now,
    });
    assert.deepEqual([ropeScaling, ropeTheta], [
      { type: "linear", factor: 4 },
      10000,
    ]);
  }
  for (
    const now of [
      { rope_type: "default", rope_theta: 10000 },
      { ...linear, factor: 8 },
      { ...linear, rope_theta: 500000 },
    ]
  ) {
    assert.throws(
      () => read({ rope_scaling: linear, rope_parameters: now }),
      /has rope_scaling \{.*"factor":4\} and rope_parameters \{.*\}, which disagree \(transformers takes rope_scaling\); delete/,
    );
  }
  assert.throws(
    () => read({ rope_scaling: "linear" }),
    /rope_scaling is "linear", wanted an object$/,
  );
});

Deno.test("ropeFrequencies(): linear divides all, llama3 only the slow ones", () => {
  const base = { headDim: 8, theta: 10000 };
  const plain = ropeFrequencies({ ...base, scaling: { type: "default" } });
  assert.deepEqual([...plain].map((x) => x.toPrecision(6)), [
    "1.00000",
    "0.100000",
    "0.0100000",
    "0.00100000",
  ]);
  const linear = ropeFrequencies({
    ...base,
    scaling: { type: "linear", factor: 4 },
  });
  assert.deepEqual([...linear], [...plain].map((x) => x / 4));
  const llama3 = ropeFrequencies({
    ...base,
    scaling: {
      type: "llama3",
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalLength: 1024,
    },
  });
  assert.deepEqual(llama3.slice(0, 2), plain.slice(0, 2));
  assert.ok(llama3[2] < plain[2] && llama3[2] > plain[2] / 8);
  assert.equal(llama3[3], plain[3] / 8);
});

Deno.test("windows: Mistral's in all layers, Qwen's where it says so, LLaMA's in none", () => {
  const windows = (changes: Record<string, unknown>) =>
    read({ num_hidden_layers: 3, sliding_window: 5, ...changes }).windows;
  assert.deepEqual(windows({}), [0, 0, 0]);
  assert.deepEqual(windows({ model_type: "mistral" }), [5, 5, 5]);
  assert.deepEqual(
    windows({ model_type: "mistral", sliding_window: null }),
    [0, 0, 0],
  );
  assert.deepEqual(
    windows({ model_type: "mistral", sliding_window: undefined }),
    [4096, 4096, 4096],
  );
  assert.deepEqual(windows(slidingQwen()), [0, 0, 0]);
  assert.deepEqual(
    windows(slidingQwen({ use_sliding_window: true })),
    [0, 5, 5],
  );
  const kinds = ["sliding_attention", "full_attention", "sliding_attention"];
  assert.deepEqual(
    windows(slidingQwen({ use_sliding_window: true, layer_types: kinds })),
    [5, 0, 5],
  );
  assert.deepEqual(windows(slidingQwen({ layer_types: kinds })), [0, 0, 0]);
  const qwen3 = slidingQwen({ model_type: "qwen3" });
  assert.deepEqual(windows(qwen3), [0, 0, 0]);
  const on = { ...qwen3, use_sliding_window: true };
  assert.deepEqual(windows(on), [0, 5, 5]);
  assert.deepEqual(windows({ ...on, layer_types: kinds }), [5, 0, 5]);
  assert.deepEqual(
    windows({ ...on, sliding_window: undefined }),
    [0, 4096, 4096],
  );
  assert.deepEqual(windows({ ...on, sliding_window: null }), [0, 0, 0]);
});

Deno.test("SmolLM3: every fourth layer without positions, or those that are named; windows in them alone", () => {
  const small = (changes: Record<string, unknown> = {}) =>
    read({ model_type: "smollm3", num_hidden_layers: 5, ...changes });
  const bits = (changes: Record<string, unknown>) =>
    small(changes).rotary.map(Number);
  assert.deepEqual(bits({}), [1, 1, 1, 0, 1]);
  assert.deepEqual(bits({ no_rope_layer_interval: 2 }), [1, 0, 1, 0, 1]);
  const named = { no_rope_layers: [0, 1, 1, 1, 0] };
  assert.deepEqual(bits(named), [0, 1, 1, 1, 0]);
  assert.deepEqual(bits({ no_rope_layers: null }), [1, 1, 1, 0, 1]);
  assert.deepEqual(
    read({ num_hidden_layers: 5, ...named }).rotary,
    new Array(5).fill(true),
    "LLaMA has no such key",
  );
  assert.throws(
    () => small({ no_rope_layers: [1, 0] }),
    /no_rope_layers is of 2 layers of 5$/,
  );
  const on = { ...named, use_sliding_window: true, sliding_window: 3 };
  assert.deepEqual(small(on).windows, [3, 0, 0, 0, 3]);
  assert.deepEqual(
    small({ ...on, use_sliding_window: false }).windows,
    [0, 0, 0, 0, 0],
  );
  assert.equal(small({ tie_word_embeddings: undefined }).tied, true);
  assert.equal(small().ropeTheta, 2000000);
  assert.equal(small({ rope_theta: 5000000 }).ropeTheta, 5000000);
});

Deno.test("biases by family, heads and head sizes by default", () => {
  const biases = (changes: Record<string, unknown>) => {
    const { qkvBias, outputBias, mlpBias } = read(changes);
    return [qkvBias, outputBias, mlpBias];
  };
  assert.deepEqual(biases({}), [false, false, false]);
  assert.deepEqual(biases({ attention_bias: true, mlp_bias: true }), [
    true,
    true,
    true,
  ]);
  assert.deepEqual(biases({ model_type: "qwen2" }), [true, false, false]);
  const asked = { attention_bias: true, mlp_bias: true };
  assert.deepEqual(
    ["mistral", "qwen2"].map((model_type) => biases({ model_type, ...asked })),
    [[false, false, false], [true, false, false]],
    "transformers reads no such keys of these",
  );
  assert.deepEqual(biases({ model_type: "qwen3" }), [false, false, false]);
  assert.deepEqual(biases({ model_type: "qwen3", ...asked }), [
    true,
    true,
    false,
  ]);
  assert.equal(
    read({ model_type: "qwen3", head_dim: undefined }).headDim,
    128,
    "whatever hidden_size / num_attention_heads is",
  );
  const { kvHeads, headDim, maxLength, normEpsilon } = read({
    num_key_value_heads: undefined,
    head_dim: undefined,
    hidden_size: 16,
    max_position_embeddings: undefined,
  });
  assert.deepEqual([kvHeads, headDim, maxLength, normEpsilon], [
    4,
    4,
    2048,
    1e-6,
  ]);
});

Deno.test("what cannot be run is named with the model", () => {
  for (
    const [changes, error] of [
      [
        { model_type: "gpt2" },
        /^TypeError: Cannot run the model m: wanted a model_type of llama, mistral, qwen2, qwen3, smollm3, got "gpt2"$/,
      ],
      [{ model_type: undefined }, /^TypeError: .*, got none$/],
      [
        { hidden_size: undefined },
        /^SyntaxError: Cannot run the model m: config\.json wants a whole number >= 1 for hidden_size, got none$/,
      ],
      [{ vocab_size: "31" }, /^SyntaxError: .*vocab_size, got "31"$/],
      [
        { num_hidden_layers: 1.5 },
        /^SyntaxError: .*a whole number >= 1 for num_hidden_layers, got 1\.5$/,
      ],
      [{ hidden_act: "gelu" }, /^TypeError: .*activation "gelu" is not silu$/],
      [
        { num_key_value_heads: 3 },
        /^TypeError: .*4 heads are no multiple of 3 key heads$/,
      ],
      [{ head_dim: 5 }, /^TypeError: .*head_dim 5 is odd$/],
      [
        { rope_scaling: { type: "yarn", factor: 2 } },
        /^TypeError: .*rope scaling "yarn" is not one of default, linear, llama3, .*loqa init/,
      ],
      [
        { rope_scaling: { type: "linear" } },
        /^TypeError: .*rope scaling wants a number > 0 for factor, got none$/,
      ],
      [
        { rope_parameters: { rope_theta: -1 } },
        /^TypeError: .*rope_theta is -1$/,
      ],
      [
        { partial_rotary_factor: 0.5 },
        /^TypeError: .*partial_rotary_factor is 0\.5$/,
      ],
    ] as const
  ) {
    assert.throws(() => read(changes), error);
  }
});

import assert from "node:assert/strict";
import { generate } from "../../../../src/models/generate/causal.ts";
import type { Llama } from "../../../../src/models/decoder/model.ts";
import { argmax } from "../../../../src/models/generate/sampling.ts";
import { Random } from "../../../../src/tensor/random.ts";
import { logitsOf, smallModel, someRows } from "../../../helpers/llama.ts";
import { networkTest } from "../../../helpers/network.ts";

const CPU = { gpu: false };

/** The likeliest tokens one by one, by full passes. */
async function greedily(
  model: Llama,
  prompt: readonly number[],
  count: number,
): Promise<number[]> {
  const ids = [...prompt];
  for (let n = 0; n < count; n++) {
    const logits = await logitsOf(model, { ids, batch: 1, time: ids.length });
    ids.push(argmax(logits.slice(-model.config.vocabSize)));
  }
  return ids.slice(prompt.length);
}

networkTest(
  (device) =>
    `generate(): prompts of different lengths together, each as alone by full passes, on ${device}`,
  async (device) => {
    for (
      const changes of [{}, { model_type: "mistral", sliding_window: 3 }]
    ) {
      using model = await smallModel(device, changes);
      const random = new Random(6);
      const prompts = [5, 1, 8].map((time) =>
        someRows(random, { count: 1, time })[0]
      );
      const found = await generate(model, prompts, { maxNewTokens: 9 });
      for (const [i, prompt] of prompts.entries()) {
        const alone = await greedily(model, prompt, 9);
        assert.deepEqual(found[i], alone);
        assert.deepEqual(
          await generate(model, [prompt], { maxNewTokens: 9 }),
          [alone],
        );
      }
    }
  },
  CPU,
);

networkTest(
  (device) => `generate(): a prompt of several chunks on ${device}`,
  async (device) => {
    using model = await smallModel(device, { max_position_embeddings: 600 });
    const [long, short] = [
      someRows(new Random(1), { count: 1, time: 520 })[0],
      someRows(new Random(2), { count: 1, time: 250 })[0],
    ];
    assert.deepEqual(
      await generate(model, [long, short], { maxNewTokens: 2 }),
      [await greedily(model, long, 2), await greedily(model, short, 2)],
    );
  },
  CPU,
);

networkTest(
  (device) => `generate(): stops, each sequence by itself, on ${device}`,
  async (device) => {
    using model = await smallModel(device);
    const prompts = someRows(new Random(3), { count: 3, time: 4 });
    const whole = await generate(model, prompts, { maxNewTokens: 8 });
    const stop = [whole[0][2], whole[1][5]];
    const cut = (row: number[]) => {
      const at = row.findIndex((token) => stop.includes(token));
      return at < 0 ? row : row.slice(0, at);
    };
    assert.deepEqual(
      await generate(model, prompts, { maxNewTokens: 8, stop }),
      whole.map(cut),
    );

    const heard: number[][] = [[], [], []];
    const stopped = await generate(model, prompts, {
      maxNewTokens: 8,
      onToken(sequence, token) {
        heard[sequence].push(token);
        return sequence === 1 && heard[1].length === 3;
      },
    });
    assert.deepEqual(heard, stopped);
    assert.deepEqual(stopped, [whole[0], whole[1].slice(0, 3), whole[2]]);
  },
  CPU,
);

networkTest(
  (device) =>
    `generate(): choices by the seed, for each sequence its own, on ${device}`,
  async (device) => {
    using model = await smallModel(device);
    const [prompt] = someRows(new Random(4), { count: 1, time: 4 });
    const run = (seed: number, prompts = [prompt, prompt]) =>
      generate(model, prompts, { maxNewTokens: 12, temperature: 2, seed });
    const found = await run(1);
    assert.deepEqual(await run(1), found);
    assert.notDeepEqual(await run(2), found);
    assert.notDeepEqual(found[0], found[1]);
    assert.deepEqual(await run(1, [prompt]), [found[0]]);
    const [likeliest] = await generate(model, [prompt], { maxNewTokens: 12 });
    assert.deepEqual(
      await generate(model, [prompt], {
        maxNewTokens: 12,
        temperature: 2,
        topK: 1,
      }),
      [likeliest],
    );
  },
  CPU,
);

networkTest(
  (device) => `generate(): no more than the context holds, on ${device}`,
  async (device) => {
    using model = await smallModel(device, { max_position_embeddings: 8 });
    const [found] = await generate(model, [[1, 2, 3, 4, 5]], {
      maxNewTokens: 100,
    });
    assert.equal(found.length, 3);
    assert.deepEqual(await generate(model, [], { maxNewTokens: 5 }), []);
    await assert.rejects(
      generate(model, [[1], []], { maxNewTokens: 1 }),
      /^RangeError: Cannot generate: a prompt is empty$/,
    );
    await assert.rejects(
      generate(model, [[1, 2, 3, 4, 5, 6, 7, 8]], { maxNewTokens: 1 }),
      /^RangeError: Cannot generate: a prompt of 8 tokens fills the model's context of 8$/,
    );
    await assert.rejects(
      generate(model, [[31]], { maxNewTokens: 1 }),
      /^RangeError: Cannot generate: the prompt's token 31 is not in the model's vocabulary of 31; /,
    );
  },
  CPU,
);

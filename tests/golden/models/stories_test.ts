import assert from "node:assert/strict";
import { scoreRequests } from "../../../src/eval/score.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { checkpointTokenizer } from "../../../src/io/open_tokenizer.ts";
import { generate } from "../../../src/models/generate/causal.ts";
import { loadCausal } from "../../../src/models/load/load.ts";
import { golden } from "../../helpers/golden.ts";
import { sharedData } from "../../helpers/inputs.ts";

interface Story {
  prompt: string;
  ids: number[];
  new: number[];
  text: string;
}

const { stories } = golden<{ stories: Story[] }>(import.meta, "stories.json");
const data = sharedData();
const where = data ? "" : " (../shared/data is not here)";

Deno.test({
  name: `stories260K: transformers' greedy texts${where}`,
  ignore: !data,
  async fn() {
    using device = await openDevice("wasm");
    await using loaded = await loadCausal(
      device,
      `${data}/models/stories260K-hf`,
    );
    const tokenizer = await checkpointTokenizer(loaded.checkpoint);
    const { bosId, eosId } = tokenizer;
    assert.deepEqual(
      stories.map(({ prompt }) =>
        prompt ? [...tokenizer.encode(prompt)] : [bosId]
      ),
      stories.map(({ ids }) => ids),
    );
    for (const { ids, new: wanted, text } of stories) {
      const [found] = await generate(loaded.model, [ids], {
        maxNewTokens: wanted.length,
        stop: [eosId!],
      });
      assert.deepEqual(found, wanted);
      assert.equal(
        tokenizer.decode([...ids, ...found], { skipSpecialTokens: true }),
        text,
      );
    }
    const together = stories.slice(1);
    assert.deepEqual(
      await generate(loaded.model, together.map(({ ids }) => ids), {
        maxNewTokens: 60,
        stop: [eosId!],
      }),
      together.map((story) => story.new),
    );
  },
});

Deno.test({
  name: `stories260K: perplexity 5.92 of 30 pieces of TinyStories${where}`,
  ignore: !data,
  async fn() {
    using device = await openDevice("wasm");
    await using loaded = await loadCausal(
      device,
      `${data}/models/stories260K-hf`,
    );
    const tokenizer = await checkpointTokenizer(loaded.checkpoint);
    const text = await Deno.readTextFile(`${data}/lm/tinystories-sample.txt`);
    // The figure is of the text as Python reads it, with line ends of one character.
    const characters = [...text.replaceAll("\r\n", "\n")];
    const rows = Array.from({ length: 30 }, (_, i) => ({
      context: Int32Array.of(tokenizer.bosId!),
      continuation: tokenizer.encode(
        characters.slice(800 * i, 800 * (i + 1)).join(""),
      ),
    }));
    const answers = await scoreRequests(
      loaded.model,
      rows.map((row) => ({ rows: [row] })),
    );
    const sum = answers.reduce((total, [score]) => total - score, 0);
    const count = rows.reduce(
      (n, { continuation }) => n + continuation.length,
      0,
    );
    assert.equal(Math.exp(sum / count).toFixed(2), "5.92");
  },
});

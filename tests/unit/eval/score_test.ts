import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { scoreRequests } from "../../../src/eval/score.ts";
import type { ScoreRow } from "../../../src/eval/tasks/task.ts";
import type { Llama } from "../../../src/models/decoder/model.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { integer } from "../../helpers/inputs.ts";
import { logitsOf, smallModel, someRows } from "../../helpers/llama.ts";

/** The log-likelihood of a continuation, from the logits of one pass. */
async function directly(
  model: Llama,
  { context, continuation }: ScoreRow,
): Promise<number> {
  const ids = [...context, ...continuation];
  const words = model.config.vocabSize;
  const logits = await logitsOf(model, { ids, batch: 1, time: ids.length });
  let sum = 0;
  for (const [i, token] of continuation.entries()) {
    const at = (context.length - 1 + i) * words;
    const row = logits.subarray(at, at + words);
    const total = row.reduce((a, x) => a + Math.exp(x), 0);
    sum += row[token] - Math.log(total);
  }
  return sum;
}

Deno.test("scoreRequests(): log-likelihoods in the order of the rows, whatever their lengths", async () => {
  using device = await openDevice("wasm");
  using model = await smallModel(device);
  const random = new Random(2);
  const ids = (least: number, most: number) =>
    Int32Array.from(
      someRows(random, { count: 1, time: integer(random, least, most) })[0],
    );
  const shared = ids(6, 6);
  const requests = [
    { rows: [{ context: ids(1, 1), continuation: ids(9, 9) }] },
    // A choice of letters after one context.
    {
      rows: [3, 1, 4].map((token) => ({
        context: shared,
        continuation: Int32Array.of(token),
      })),
    },
    {
      rows: Array.from({ length: 3 }, () => ({
        context: shared,
        continuation: ids(1, 5),
      })),
    },
    { rows: [] },
    ...Array.from({ length: 5 }, () => ({
      rows: [{ context: ids(1, 20), continuation: ids(1, 20) }],
    })),
  ];
  const answers = await scoreRequests(model, requests);
  assert.deepEqual(
    answers.map((answer) => answer.length),
    requests.map(({ rows }) => rows.length),
  );
  for (const [i, { rows }] of requests.entries()) {
    for (const [j, row] of rows.entries()) {
      assertAllClose([answers[i][j]], [await directly(model, row)], {
        rtol: 1e-5,
        atol: 1e-5,
        what: `row ${j} of request ${i}`,
      });
    }
  }
});

Deno.test("scoreRequests(): a row beyond the context is refused", async () => {
  using device = await openDevice("reference");
  using model = await smallModel(device, { max_position_embeddings: 8 });
  const row = (continuation: number) => [{
    rows: [{
      context: new Int32Array(4),
      continuation: new Int32Array(continuation),
    }],
  }];
  // The last token of a row is only asked for.
  const [[whole]] = await scoreRequests(model, row(5));
  assert.ok(whole < 0);
  await assert.rejects(
    scoreRequests(model, row(6)),
    /^RangeError: Cannot run the model: a sequence of 9 tokens is beyond its context of 8$/,
  );
});

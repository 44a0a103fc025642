import assert from "node:assert/strict";
import {
  argmax,
  sample,
  type SamplingOptions,
} from "../../../../src/models/generate/sampling.ts";
import { Random } from "../../../../src/tensor/random.ts";
import { forSeeds, integer, pick } from "../../../helpers/inputs.ts";

/** Probabilities as the papers have them: temperature, then the k likeliest, then the nucleus of what is left. */
function probabilities(
  logits: Float32Array,
  { temperature = 1, topK = Infinity, topP = 1 }: SamplingOptions,
): Map<number, number> {
  const order = [...logits.keys()].sort((i, j) =>
    logits[j] - logits[i] || i - j
  ).slice(0, topK);
  const weights = order.map((i) => Math.exp(logits[i] / temperature));
  const normal = (of: number[]) => {
    const total = of.reduce((a, b) => a + b, 0);
    return of.map((x) => x / total);
  };
  const shares = normal(weights);
  let before = 0;
  const kept = shares.filter((share) => {
    const inside = before < topP;
    before += share;
    return inside;
  });
  return new Map(normal(kept).map((p, n) => [order[n], p]));
}

Deno.test("sample(): frequencies are the probabilities of temperature, top-k and top-p", async () => {
  const count = 4000;
  await forSeeds(12, (random) => {
    const logits = random.normals(integer(random, 1, 9)).map((x) => 1.5 * x);
    const options = {
      temperature: pick(random, [0.5, 1, 1.7]),
      topK: pick(random, [undefined, 1, 3, 20]),
      topP: pick(random, [undefined, 0, 0.6, 0.9, 1]),
    };
    const wanted = probabilities(logits, {
      ...options,
      topP: options.topP || options.topP === undefined ? options.topP : 1e-9,
    });
    const found = new Map<number, number>();
    for (let n = 0; n < count; n++) {
      const token = sample(logits, { ...options, random });
      found.set(token, (found.get(token) ?? 0) + 1);
    }
    for (const token of found.keys()) assert.ok(wanted.has(token), `${token}`);
    for (const [token, p] of wanted) {
      const share = (found.get(token) ?? 0) / count;
      const limit = 5 * Math.sqrt(p * (1 - p) / count) + 1e-9;
      assert.ok(Math.abs(share - p) <= limit, `${token}: ${share}, ${p}`);
    }
  });
});

Deno.test("sample(): without a temperature the likeliest, the first of equals", () => {
  const random = new Random(0);
  assert.equal(sample(Float32Array.of(1, 3, 3, 2), { random }), 1);
  assert.equal(argmax(Float32Array.of(-5)), 0);
  assert.equal(
    sample(Float32Array.of(-Infinity, 0), { random, temperature: 1 }),
    1,
  );
});

Deno.test("sample(): scores that are no numbers are refused", () => {
  const random = new Random(0);
  for (const bad of [NaN, Infinity, -Infinity]) {
    assert.throws(
      () => sample(new Float32Array(3).fill(bad), { random }),
      /^RangeError: Cannot choose a token: the largest of 3 logits is /,
    );
  }
});

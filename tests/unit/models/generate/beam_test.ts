import assert from "node:assert/strict";
import {
  type BeamOptions,
  BeamSearch,
} from "../../../../src/models/generate/beam.ts";
import { Random } from "../../../../src/tensor/random.ts";

const OPTIONS: BeamOptions = {
  beams: 2,
  lengthPenalty: 1,
  earlyStopping: false,
  maxLength: 8,
  eos: [0],
};

/** Log-probabilities of shares. */
function logs(...shares: number[]): Float32Array {
  const sum = shares.reduce((a, b) => a + b);
  return Float32Array.from(shares, (share) => Math.log(share / sum));
}

type Model = (tokens: readonly number[]) => Float32Array;

/** A search to its end; what it wrote, and the steps it took. */
function searched(
  model: Model,
  options: BeamOptions,
): { written: number[]; steps: number } {
  const search = new BeamSearch(9, 1, options);
  let steps = 0;
  while (!search.ended) {
    search.advance(search.sequences.map(model));
    steps++;
  }
  return { written: search.results()[0], steps };
}

/** Scores that depend on all tokens so far. */
function randomModel(seed: number, words: number): Model {
  const rows = new Map<string, Float32Array>();
  return (tokens) => {
    const key = tokens.join();
    const found = rows.get(key) ??
      logs(
        ...Array.from(
          new Random(seed, key).normals(words),
          (x) => Math.exp(2 * x),
        ),
      );
    rows.set(key, found);
    return found;
  };
}

/** Every sequence that a search can end with, and its score. */
function* all(
  model: Model,
  { maxLength, eos, lengthPenalty }: BeamOptions,
  tokens: readonly number[] = [9],
  sum = 0,
): Generator<{ tokens: readonly number[]; score: number }> {
  for (const [token, x] of model(tokens).entries()) {
    const next = [...tokens, token];
    const total = sum + x;
    if (eos.includes(token) || next.length === maxLength) {
      const score = total / (next.length - 1) ** lengthPenalty;
      yield { tokens: next.slice(1), score };
    } else {
      yield* all(
        model,
        { ...OPTIONS, maxLength, eos, lengthPenalty },
        next,
        total,
      );
    }
  }
}

Deno.test("BeamSearch: with room for all sequences it finds the best one", () => {
  for (const lengthPenalty of [-0.5, 0, 0.6, 1, 2]) {
    for (let seed = 0; seed < 8; seed++) {
      const model = randomModel(seed, 4);
      const options: BeamOptions = {
        ...{ beams: 64, lengthPenalty, maxLength: 4, eos: [0] },
        earlyStopping: "never",
      };
      const best = [...all(model, options)]
        .reduce((a, b) => b.score > a.score ? b : a);
      assert.deepEqual(searched(model, options).written, best.tokens);
    }
  }
});

Deno.test("BeamSearch: one beam follows the likeliest token", () => {
  const model = randomModel(5, 6);
  const wanted: number[] = [];
  while (wanted.at(-1) !== 0 && wanted.length < 7) {
    const row = model([9, ...wanted]);
    wanted.push(row.indexOf(Math.max(...row)));
  }
  const options = { ...OPTIONS, beams: 1, lengthPenalty: 0 };
  assert.deepEqual(searched(model, options).written, wanted);
});

/** Ends are unlikely at first; once there were two, what runs on is always a little worse. */
const LATE: Model = (tokens) =>
  tokens.length < 3 ? logs(0.1, 0.5, 0.4) : logs(0.3, 0.4, 0.3);

Deno.test("BeamSearch: early stopping stops first, never last", () => {
  let [sooner, later] = [0, 0];
  for (let seed = 0; seed < 40; seed++) {
    const model = randomModel(seed, 5);
    const [first, usual, last] = ([true, false, "never"] as const).map((
      earlyStopping,
    ) => searched(model, { ...OPTIONS, earlyStopping, maxLength: 12 }).steps);
    assert.ok(first <= usual && usual <= last, `${[first, usual, last]}`);
    if (first < usual) sooner++;
    if (usual < last) later++;
  }
  assert.ok(sooner > 3 && later > 3, `${sooner} and ${later}`);
});

Deno.test("BeamSearch: a longer sequence gains by the length penalty", () => {
  const lengths = [-2, 0, 4].map((lengthPenalty) =>
    searched(LATE, {
      ...OPTIONS,
      beams: 4,
      earlyStopping: "never",
      lengthPenalty,
    })
      .written.length
  );
  assert.ok(lengths[0] < lengths[2], `${lengths}`);
  assert.ok(lengths[0] <= lengths[1] && lengths[1] <= lengths[2], `${lengths}`);
});

Deno.test("BeamSearch: rows to go on from, by source", () => {
  const search = new BeamSearch(9, 2, { ...OPTIONS, beams: 2 });
  assert.deepEqual(search.sequences, [[9], [9], [9], [9]]);
  // At first both go on from the first beam: the others are the same sequence.
  const first = logs(1, 30, 20);
  assert.deepEqual(search.advance([first, first, first, first]), [0, 0, 2, 2]);
  assert.deepEqual(search.sequences, [[9, 1], [9, 2], [9, 1], [9, 2]]);
  const sure = logs(1, 1, 98);
  const open = logs(1, 50, 49);
  // The second source's second beam is so sure that it comes first.
  assert.deepEqual(search.advance([open, open, open, sure]), [0, 0, 3, 2]);
  assert.deepEqual(search.sequences, [
    [9, 1, 1],
    [9, 1, 2],
    [9, 2, 2],
    [9, 1, 1],
  ]);
});

Deno.test("BeamSearch: an end among the worse half does not count", () => {
  const search = new BeamSearch(9, 1, { ...OPTIONS, beams: 2 });
  // Ends are third: not among the best two, so nothing is finished.
  search.advance([logs(20, 50, 30), logs(20, 50, 30)]);
  assert.deepEqual(search.results(), [[]]);
  search.advance([logs(90, 6, 4), logs(1, 60, 39)]);
  assert.deepEqual(search.results(), [[1, 0]]);
});

Deno.test("BeamSearch: at the greatest length all sequences end", () => {
  const { written, steps } = searched(() => logs(1, 98, 1), {
    ...OPTIONS,
    maxLength: 5,
  });
  assert.deepEqual(written, [1, 1, 1, 1]);
  assert.equal(steps, 4);
});

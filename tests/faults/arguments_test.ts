/** Wrong arguments of programs without types are refused in one sentence, before any work. */

import assert from "node:assert/strict";
import { loftq, matrix, openDevice, quantize, svd } from "../../mod.ts";
import { isMeant } from "../../src/errors.ts";
import { readJournal, writeJournal } from "../../src/init/journal.ts";
import { init } from "../../src/init/run.ts";
import { readState } from "../../src/train/checkpoint.ts";
import { train, TRAIN_DEFAULTS } from "../../src/train/run.ts";
import { inFolder } from "../helpers/model.ts";

// deno-lint-ignore no-explicit-any -- as a program without types calls it
type Untyped = (...args: any[]) => Promise<unknown>;

async function refused(
  call: () => Promise<unknown>,
  line: RegExp,
): Promise<void> {
  await assert.rejects(call, (error) => {
    assert.ok(isMeant(error), String(error));
    assert.match(error.message, line);
    return true;
  });
}

const w = matrix(8, 8);

Deno.test("loftq(), quantize() and svd() say which argument is wrong", async () => {
  const [l, q, s] = [loftq, quantize, svd] as Untyped[];
  await refused(() => l(w), /run LoftQ: wanted an object of options, got noth/);
  await refused(
    () => l(w, { format: "nf4", iters: 3 }),
    /there is no option iters; wanted some of format, block, /,
  );
  await refused(() => l("w", { format: "nf4" }), /wanted a matrix \{ rows/);
  await refused(() => l(undefined, { format: "nf4" }), /wanted a matrix/);
  await refused(
    () => l({ rows: 8, cols: 8, data: new Float32Array(5) }, { format: "nf4" }),
    /a 8 x 8 matrix holds 64 values, got 5/,
  );
  await refused(
    () => l(w, { format: "nf4", rank: 1e9 }),
    /rank must be at most 134217728, got 1000000000/,
  );
  await refused(() => q(w, {}), /Cannot quantize: the options lack format/);
  await refused(
    () => q({ rows: 8, cols: 8, data: new Float32Array(5) }, { format: "nf4" }),
    /64 values, got 5/,
  );
  await refused(() => s({ rows: 2, cols: 2 }), /wanted a matrix/);
  await refused(() => s(w, { k: 3 }), /there is no option k;/);
});

Deno.test("init() and train() say which option lacks", async () => {
  using device = await openDevice("reference");
  await refused(
    () => (init as Untyped)("em", {}, {}),
    /wanted a checkpoint that is open \(openCheckpoint\), got "em"/,
  );
  const options = { ...TRAIN_DEFAULTS, method: "adapter" };
  const run = { device, path: "x", out: "x", data: ["x"], keep: 1 };
  const call = (more: object, o: object = options) => () =>
    (train as Untyped)(o, { ...run, ...more });
  await refused(call({}), /Cannot train: the options lack saveEvery, logEvery/);
  await refused(
    call({ saveEvery: 0, logEvery: 1 }),
    /saveEvery must be a whole number >= 1, got 0/,
  );
  await refused(
    call({ saveEvery: 1, logEvery: NaN }),
    /logEvery must be a whole number >= 1, got NaN/,
  );
  await refused(
    call({ saveEvery: 1, logEvery: 1, data: "file" }),
    /data must be a list of paths/,
  );
  await refused(
    call({ saveEvery: 1, logEvery: 1 }, { ...options, stpes: 4 }),
    /there is no option stpes;/,
  );
});

const JOURNAL = {
  ...{ key: "k", backboneBytes: 0, adapterBytes: 0, parts: [], layers: [] },
};
const STATE = {
  ...{ key: "k", start: "s", step: 4, order: {}, losses: [1, 2, 3, 4] },
  ...{ evaluations: [], seconds: 1, tokens: 9 },
};

Deno.test("a journal and a state changed by hand are refused by name", () =>
  inFolder(async (folder) => {
    const journal = `${folder}/journal.json`;
    const write = (path: string, value: unknown) =>
      Deno.writeTextFile(path, JSON.stringify(value));
    await writeJournal(journal, JOURNAL);
    assert.deepEqual({ ...await readJournal(journal) }, JOURNAL);
    for (
      const wrong of [
        ...[{ layers: {} }, { layers: [null] }, { layers: [{ report: 1 }] }],
        ...[{ backboneBytes: -1 }, { backboneBytes: "9" }, { key: 3 }],
      ]
    ) {
      await write(journal, { ...JOURNAL, ...wrong });
      await refused(() => readJournal(journal), /journal\.json" is no journal/);
    }
    const step = `${folder}/step-000004`;
    await Deno.mkdir(step);
    const state = (await namesOfState(step)) ?? `${step}/state.json`;
    await write(state, STATE);
    assert.equal((await readState(step, "k")).step, 4);
    for (
      const wrong of [
        ...[{ step: 99999 }, { step: "4" }, { losses: "x" }, { order: null }],
        ...[{ losses: [1, 2, 3, 4, 5] }, { tokens: -1 }, { evaluations: [1] }],
      ]
    ) {
      await write(state, { ...STATE, ...wrong });
      await refused(
        () => readState(step, "k"),
        /^Cannot resume from .*step-000004: \S+ is no state of step 4$/,
      );
    }
  }));

/** The name under which a state is kept, as the error tells it. */
async function namesOfState(step: string): Promise<string | undefined> {
  try {
    await readState(step, "k");
  } catch (error) {
    const name = /: (\S+) is no state/.exec((error as Error).message)?.[1];
    return name && `${step}/${name}`;
  }
}

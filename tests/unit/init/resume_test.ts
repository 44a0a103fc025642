import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import type { InitOptions, RunOptions } from "../../../src/init/options.ts";
import { init } from "../../../src/init/run.ts";
import {
  comparable,
  inFolder,
  openModel,
  readTree,
  tinyLlama,
} from "../../helpers/model.ts";

const device = await openDevice("wasm");
const MODEL = tinyLlama({ layers: 1 });
const PLAIN: InitOptions = {
  method: "loftq",
  format: "nf4",
  rank: 3,
  alpha: 3,
  iterations: 1,
  seed: 0,
};

async function run(
  out: string,
  options: Partial<InitOptions>,
  more: Partial<RunOptions> = {},
  model = MODEL,
): Promise<void> {
  await using checkpoint = await openModel(model);
  await init(checkpoint, { ...PLAIN, ...options }, { device, out, ...more });
}

/** Interrupts a run at its n-th report of progress; tells whether it came that far. */
async function interrupted(
  out: string,
  options: Partial<InitOptions>,
  { at, how, ...more }:
    & { at: number; how: "abort" | "crash" }
    & Partial<
      RunOptions
    >,
): Promise<boolean> {
  const stop = new AbortController();
  let count = 0;
  const onProgress = () => {
    if (count++ !== at) return;
    if (how === "crash") throw new Error("crash");
    stop.abort();
  };
  try {
    await run(out, options, { onProgress, signal: stop.signal, ...more });
    return false;
  } catch (error) {
    const expected = how === "crash" ? "crash" : stop.signal.reason?.message;
    assert.equal((error as Error).message, expected);
    return true;
  }
}

/** Reports of progress in a run: one a tensor, one at the end. */
const POINTS = Object.keys(MODEL.tensors).length + 1;

const KINDS: Record<string, Partial<InitOptions>> = {
  "bnb": {},
  "bnb with scales in 8 bits": { doubleQuant: true },
  "packed": { format: "int3" },
  "dense in bf16": { backbone: "dense", dtype: "bf16" },
  "adapter alone": { backbone: "none" },
};

for (const [name, options] of Object.entries(KINDS)) {
  Deno.test(`a run interrupted at any tensor and resumed ends with the same bytes: ${name}`, () =>
    inFolder(async (folder) => {
      await run(`${folder}/whole`, options);
      const whole = await comparable(`${folder}/whole`);
      for (let at = 0; at < POINTS - 1; at++) {
        const out = `${folder}/out-${at}`;
        const safeInterval = at % 2 ? 0 : 1e9;
        assert.ok(
          await interrupted(out, options, { at, how: "abort", safeInterval }),
        );
        await assert.rejects(Deno.stat(out), Deno.errors.NotFound);
        await Deno.stat(`${out}.partial/journal.json`);
        await run(out, options, { resume: true });
        assert.deepEqual(await comparable(out), whole, `at ${at}`);
        await assert.rejects(Deno.stat(`${out}.partial`), Deno.errors.NotFound);
      }
    }));

  Deno.test(`a run that crashes twice between safe points resumes: ${name}`, () =>
    inFolder(async (folder) => {
      await run(`${folder}/whole`, options);
      const whole = await comparable(`${folder}/whole`);
      for (let at = 2; at < POINTS; at += 3) {
        const out = `${folder}/out-${at}`;
        // Safe after every tensor, then more written that no journal knows.
        await interrupted(out, options, { at, how: "crash", safeInterval: 0 });
        await interrupted(out, options, {
          at: Math.min(at + 2, POINTS - 1),
          how: "crash",
          resume: true,
          safeInterval: 1e9,
        });
        await run(out, options, { resume: true });
        assert.deepEqual(await comparable(out), whole, `at ${at}`);
      }
    }));
}

Deno.test("resuming does not do finished layers again", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    await interrupted(out, {}, { at: POINTS - 2, how: "abort" });
    const before = device.memory.peakBytes;
    let reads = 0;
    await using model = await openModel(MODEL);
    await init(
      {
        ...model,
        readF32: (name, from, to) => {
          // Plain tensors are looked at in parts.
          if (from === undefined) reads++;
          return model.readF32(name, from, to);
        },
      },
      PLAIN,
      { device, out, resume: true },
    );
    assert.equal(reads, 0);
    assert.equal(device.memory.peakBytes, before);
  }));

Deno.test("a run that failed only at the small files resumes from its whole tensors", () =>
  inFolder(async (folder) => {
    await run(`${folder}/whole`, {});
    const out = `${folder}/out`;
    await using model = await openModel(MODEL);
    const broken = {
      ...model,
      sideFiles: () =>
        Promise.resolve([{
          name: "model.safetensors/place",
          bytes: new Uint8Array(1),
        }]),
    };
    await assert.rejects(
      init(broken, PLAIN, { device, out, safeInterval: 0 }),
      /model\.safetensors/,
    );
    await Deno.stat(`${out}.partial/result/backbone/model.safetensors`);
    let layers = 0;
    await init(
      {
        ...model,
        readF32: (name, from, to) => {
          if (from === undefined) layers++;
          return model.readF32(name, from, to);
        },
      },
      PLAIN,
      { device, out, resume: true },
    );
    assert.equal(layers, 0);
    assert.deepEqual(
      await comparable(out),
      await comparable(`${folder}/whole`),
    );
  }));

Deno.test("resuming with anything else that decides the bytes is refused", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    await interrupted(out, {}, { at: 5, how: "abort" });
    const before = await readTree(folder);
    const refused = {
      name: "RangeError",
      message:
        `Cannot resume: ${out}.partial/journal.json is of a run with other options, another model, device or version; run with --force, without --resume, to start anew`,
    };
    const others: Partial<InitOptions>[] = [
      { rank: 4 },
      { alpha: 4 },
      { seed: 1 },
      { iterations: 2 },
      { format: "nf3" },
      { backbone: "packed" },
      { targets: ["q_proj"] },
      { dtype: "f16" },
    ];
    for (const options of others) {
      await assert.rejects(run(out, options, { resume: true }), refused);
    }
    const tuned = structuredClone(MODEL);
    const q = "model.layers.0.mlp.up_proj.weight";
    tuned.tensors[q] = {
      ...tuned.tensors[q],
      values: new Float32Array(35 * 21).fill(0.5),
    };
    await assert.rejects(run(out, {}, { resume: true }, tuned), refused);
    using reference = await openDevice("reference");
    await assert.rejects(
      run(out, {}, { resume: true, device: reference }),
      refused,
    );
    assert.deepEqual(await readTree(folder), before);
    await run(out, {}, { resume: true });
  }));

Deno.test("resuming with other moments is refused", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    const targets = ["q_proj", "k_proj"];
    const metricOf = (last: number) => () => {
      const moments = new Float32Array(21).fill(1);
      moments[20] = last;
      return Promise.resolve({ kind: "diag", moments } as const);
    };
    const options: Partial<InitOptions> = { metric: "diag", targets };
    await interrupted(out, options, {
      at: 3,
      how: "abort",
      metricOf: metricOf(2),
    });
    await assert.rejects(
      run(out, options, { resume: true, metricOf: metricOf(3) }),
      { name: "RangeError", message: /^Cannot resume: / },
    );
    await run(out, options, { resume: true, metricOf: metricOf(2) });
  }));

Deno.test("with force and without resume, or without a journal, a run starts anew and leaves nothing of the old", () =>
  inFolder(async (folder) => {
    await run(`${folder}/whole`, { backbone: "none" });
    const whole = await comparable(`${folder}/whole`);
    const out = `${folder}/out`;
    for (const resume of [false, true]) {
      await interrupted(out, {}, { at: 6, how: "abort", force: true });
      if (resume) await Deno.remove(`${out}.partial/journal.json`);
      else {
        await assert.rejects(run(out, { backbone: "none" }), {
          name: "RangeError",
          message: /\.partial is the work of an interrupted init; /,
        });
      }
      await run(out, { backbone: "none" }, { resume, force: true });
      assert.deepEqual(await comparable(out), whole);
    }
    await Deno.remove(out, { recursive: true });
    await run(out, { backbone: "none" }, { resume: true });
    assert.deepEqual(await comparable(out), whole);
  }));

Deno.test("a journal that promises more than the files hold is not believed", () =>
  inFolder(async (folder) => {
    await run(`${folder}/whole`, {});
    const out = `${folder}/out`;
    for (
      const lost of ["journal.json", "result/backbone/model.safetensors.part"]
    ) {
      await interrupted(out, {}, { at: 9, how: "abort", force: true });
      await Deno.truncate(`${out}.partial/${lost}`, 40);
      await run(out, {}, { resume: true, force: true });
      assert.deepEqual(
        await comparable(out),
        await comparable(`${folder}/whole`),
      );
    }
  }));

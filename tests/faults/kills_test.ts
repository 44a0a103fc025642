import assert from "node:assert/strict";
import { Random } from "../../src/tensor/random.ts";
import { outcome, spawnLoqa } from "../helpers/cli.ts";
import { integer } from "../helpers/inputs.ts";
import { comparable, readTree } from "../helpers/model.ts";
import { initArgs, sleep, succeeds, there, withModel } from "./work.ts";
import { initInto, trainArgs, trained, withTrainable } from "./train_work.ts";

/** Kills over all verbs: few for every day, `LOQA_KILLS=200` for a thorough look. */
const KILLS = Math.ceil(Number(Deno.env.get("LOQA_KILLS") ?? 8) / 4);

/** A verb whose runs are killed. */
interface Killed {
  /** Its arguments; the same command, or with `--resume`, is what goes on. */
  readonly args: (out: string) => string[];
  /** True if a whole result is in the way of the same command. */
  readonly once?: boolean;
  /** The comparable part of a whole result. */
  readonly whole: (out: string) => Promise<ReadonlyMap<string, unknown>>;
  /** Makes `out` as it is before a run. */
  readonly reset: (out: string) => Promise<void>;
  /** Asserts what holds of `out` whenever a run was killed. */
  readonly holds: (
    out: string,
    wanted: ReadonlyMap<string, unknown>,
  ) => Promise<void>;
}

const WASM = ["--quiet", "--device", "wasm", "--threads", "1"];

async function remove(path: string): Promise<void> {
  if (await there(path)) await Deno.remove(path, { recursive: true });
}

/** A place at which a result is whole or nothing is. */
const wholeOrNothing = {
  whole: comparableTree,
  reset: remove,
  async holds(out: string, wanted: ReadonlyMap<string, unknown>) {
    if (await there(out)) assert.deepEqual(await comparableTree(out), wanted);
  },
};

/** The files of a folder, or a file. */
async function comparableTree(
  out: string,
): Promise<ReadonlyMap<string, unknown>> {
  if ((await Deno.stat(out)).isDirectory) return await comparable(out);
  return new Map([["", await Deno.readFile(out)]]);
}

/**
 * Kills runs at random moments, some of them again and again as they go on, until there are enough: after each nothing is
 * lost, and what goes on ends with the bytes of an unbroken run.
 */
async function killed(
  folder: string,
  name: string,
  { args, whole, reset, holds, once = false }: Killed,
): Promise<void> {
  await reset(`${folder}/whole`);
  await succeeds(args(`${folder}/whole`));
  const wanted = await whole(`${folder}/whole`);
  const out = `${folder}/out`;
  const random = new Random(3, `kill ${name}`);
  await reset(out);
  const began = performance.now();
  await succeeds(args(out));
  const time = Math.ceil(performance.now() - began);
  assert.deepEqual(await whole(out), wanted);
  let resumes = 0;
  await reset(out);
  for (let kills = 0, tries = 0; kills < KILLS; tries++) {
    assert.ok(tries < 20 * KILLS, `${kills} kills of ${tries}`);
    const child = spawnLoqa(args(out));
    await sleep(integer(random, 0, time));
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    const { code, stderr } = await outcome(child);
    assert.ok(code === 0 || code === 137, stderr);
    await holds(out, wanted);
    if (code !== 0) kills++;
    if (once && await there(out)) {
      // Whole, as was seen, before the process had ended; the same command again refuses it.
      assert.equal((await outcome(spawnLoqa(args(out)))).code, 1);
      await reset(out);
      continue;
    }
    if (code !== 0 && random.uint32() % 3 > 0) continue;
    if (code !== 0) {
      await succeeds(args(out));
      resumes++;
    }
    assert.deepEqual(await whole(out), wanted);
    assert.equal(await there(`${out}.partial`), false);
    await reset(out);
  }
  await succeeds(args(out));
  assert.deepEqual(await whole(out), wanted);
  assert.equal(await there(`${out}.partial`), false);
  if (Deno.env.has("LOQA_KILLS")) {
    console.log(`${name}: ${KILLS} kills, ${resumes + 1} gone on with`);
  }
}

Deno.test("init, killed at random moments: nothing is lost", () =>
  withModel((folder) =>
    killed(folder, "init", {
      ...wholeOrNothing,
      args: (out) => initArgs(folder, out, "--resume"),
    })
  ));

Deno.test("init that replaces, killed at random moments: the old is whole until the new is", () =>
  withModel(async (folder) => {
    await succeeds(initArgs(folder, `${folder}/old`, "--format", "int2"));
    const old = await comparable(`${folder}/old`);
    const found = async (out: string) => {
      const files = new Map(await comparable(out));
      // What a killed run left of its lock.
      files.delete("loqa.lock");
      return files;
    };
    await killed(folder, "init --force", {
      args: (out) => initArgs(folder, out, "--force", "--resume"),
      whole: comparable,
      async reset(out) {
        await remove(out);
        for (const [path, bytes] of await readTree(`${folder}/old`)) {
          const file = `${out}/${path}`;
          await Deno.mkdir(file.replace(/[^/]*$/, ""), { recursive: true });
          await Deno.writeFile(file, bytes);
        }
      },
      async holds(out, wanted) {
        const place = await there(out)
          ? out
          : await there(`${out}.partial/placing`)
          ? `${out}.partial/result`
          : `${out}.partial/replaced`;
        const files = await found(place);
        const text = (map: ReadonlyMap<string, unknown>) =>
          JSON.stringify([...map].filter(([path]) => !/json$/.test(path)));
        assert.ok(
          [text(old), text(wanted)].includes(text(files)),
          `${place} is neither old nor new`,
        );
      },
    });
  }));

Deno.test("train, killed at random moments: nothing is lost", () =>
  withTrainable((folder) =>
    killed(folder, "train", {
      args: (out) => [
        ...["train", out],
        ...trainArgs(
          folder,
          out,
          ...["--method", "adapter", "--steps", "60", "--resume"],
        ).slice(2),
      ],
      whole: trained,
      async reset(out) {
        await remove(out);
        await initInto(folder, out);
      },
      async holds(out, wanted) {
        const place = await there(`${out}/adapter`)
          ? `${out}/adapter`
          : `${out}/adapter.replaced`;
        const files = await readTree(place);
        assert.ok(files.has("adapter_config.json"), `${place} is not whole`);
        const bytes = files.get("adapter_model.safetensors")!;
        const hash = new Uint8Array(
          await crypto.subtle.digest("SHA-256", bytes),
        ).toHex();
        const ended = wanted.get("adapter/adapter_model.safetensors");
        const start = wanted.get("runs/0/adapter/adapter_model.safetensors");
        assert.ok([ended, start].includes(hash), "neither start nor end");
      },
    })
  ));

/** Runs `work` with a folder that holds `tuned`, a model with an adapter, and `model`. */
function withTuned(work: (folder: string) => Promise<void>): Promise<void> {
  return withTrainable(async (folder) => {
    await initInto(folder, `${folder}/tuned`);
    await work(folder);
  });
}

const mergeArgs = (folder: string, out: string) => [
  ...["merge", `${folder}/tuned`, "-o", out, ...WASM],
];

const exportArgs = (folder: string, out: string) => [
  ...["export", `${folder}/model`, "--to", "gguf", "-o", out, "--quiet"],
];

Deno.test("merge, killed at random moments: its result is whole or not there", () =>
  withTuned((folder) =>
    killed(folder, "merge", {
      ...{ ...wholeOrNothing, once: true },
      args: (out) => mergeArgs(folder, out),
    })
  ));

Deno.test("export, killed at random moments: its result is whole or not there", () =>
  withTuned((folder) =>
    killed(folder, "export", {
      ...{ ...wholeOrNothing, once: true },
      args: (out) => exportArgs(folder, out),
    })
  ));

const PAIRS: Readonly<
  Record<string, (folder: string, out: string) => [string[], string[]]>
> = {
  "two inits": (folder, out) => [initArgs(folder, out), initArgs(folder, out)],
  "two merges": (folder, out) => [
    mergeArgs(folder, out),
    mergeArgs(folder, out),
  ],
  "two exports": (folder, out) => [
    exportArgs(folder, out),
    exportArgs(folder, out),
  ],
  "a merge and an export": (folder, out) => [
    mergeArgs(folder, out),
    [...exportArgs(folder, out).slice(0, 3), "onnx", "-o", out, "--quiet"],
  ],
};

for (const [name, pair] of Object.entries(PAIRS)) {
  Deno.test(`${name} at once: one is refused, the other one's result is whole`, () =>
    withTuned(async (folder) => {
      for (let round = 0; round < Math.ceil(KILLS / 4); round++) {
        const out = `${folder}/out`;
        const both = pair(folder, out).map((args) => spawnLoqa(args));
        const ended = await Promise.all(both.map(outcome));
        const codes = ended.map(({ code }) => code);
        assert.deepEqual([...codes].sort(), [0, 1], JSON.stringify(ended));
        const { stderr } = ended[codes.indexOf(1)];
        const other = both[codes.indexOf(0)].pid;
        assert.match(
          stderr,
          new RegExp(
            `^loqa: Cannot write to [^\\n]*(: process ${other} |: it is there already)`,
            "m",
          ),
        );
        await remove(`${folder}/alone`);
        await succeeds(pair(folder, `${folder}/alone`)[codes.indexOf(0)]);
        assert.deepEqual(
          await comparableTree(out),
          await comparableTree(`${folder}/alone`),
        );
        assert.equal(await there(`${out}.partial`), false);
        await remove(out);
      }
    }));
}

Deno.test("two trainings at once in one folder: one is refused, the other one's run is whole", () =>
  withTrainable(async (folder) => {
    const args = (out: string) => [
      ...["train", out],
      ...trainArgs(folder, out, "--method", "adapter", "--steps", "300")
        .slice(2),
    ];
    const [out, alone] = [`${folder}/out`, `${folder}/alone`];
    await initInto(folder, out);
    await initInto(folder, alone);
    await succeeds(args(alone));
    const both = [spawnLoqa(args(out)), spawnLoqa(args(out))];
    const ended = await Promise.all(both.map(outcome));
    const codes = ended.map(({ code }) => code);
    assert.deepEqual([...codes].sort(), [0, 1], JSON.stringify(ended));
    assert.match(
      ended[codes.indexOf(1)].stderr,
      new RegExp(`: process ${both[codes.indexOf(0)].pid} .*\\(train, since `),
    );
    assert.deepEqual(await trained(out), await trained(alone));
  }));

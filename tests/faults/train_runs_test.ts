import assert from "node:assert/strict";
import { loqa, outcome, spawnLoqa } from "../helpers/cli.ts";
import { readTree } from "../helpers/model.ts";
import {
  initInto,
  overridden,
  savedSteps,
  untilSaved,
  withTrainable,
} from "./train_work.ts";
import { failsWith, succeeds, there } from "./work.ts";

const DEVICE = ["--device", "wasm", "--threads", "1"];

/** Arguments of a training of what is at `path`. */
function args(folder: string, path: string, ...more: string[]): string[] {
  return overridden([
    ...["train", path, "--data", `${folder}/data.txt`, ...DEVICE],
    ...["--seq-len", "16", "--batch", "2", "--lr", "1e-3", "--quiet"],
  ], more);
}

/** Arguments of a training of a new adapter on `model` into `out`. */
function fresh(folder: string, out: string, ...more: string[]): string[] {
  return args(
    folder,
    `${folder}/model`,
    ...["-o", out, "--method", "lora", "--rank", "2", ...more],
  );
}

const adapterOf = (path: string) =>
  Deno.readFile(`${path}/adapter/adapter_model.safetensors`);

const json = async (path: string) => JSON.parse(await Deno.readTextFile(path));

/** Perplexity of a model on the data, and what is said of it. */
async function measure(
  folder: string,
  ...more: string[]
): Promise<{ perplexity: number; stderr: string }> {
  const { stdout, stderr } = await succeeds([
    ...["eval", ...more, "--task", "ppl", "--data", `${folder}/data.txt`],
    ...["--block", "16", "--limit", "2", "--json", "--quiet", ...DEVICE],
  ]);
  return { perplexity: JSON.parse(stdout).metrics.perplexity, stderr };
}

/** A run that is stopped when it has saved a checkpoint. */
async function interrupted(
  folder: string,
  path: string,
  run: number,
): Promise<number> {
  const child = spawnLoqa(
    args(folder, path, "--steps", "100000", "--save-every", "5"),
  );
  let ended = false;
  child.status.then(() => ended = true);
  while (!ended && (await savedSteps(path, run)).length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  child.kill("SIGINT");
  assert.equal((await outcome(child)).code, 130);
  return (await savedSteps(path, run)).at(-1)!;
}

Deno.test("a second training is a run of its own: from the start, which is kept, as the first run is", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    await initInto(folder, out);
    const start = await adapterOf(out);
    const backbone = await readTree(`${out}/backbone`);
    await succeeds(args(folder, out, "--steps", "3"));
    const first = await readTree(`${out}/runs/1`);
    assert.deepEqual(await adapterOf(`${out}/runs/0`), start);
    assert.deepEqual(await adapterOf(out), await adapterOf(`${out}/runs/1`));
    // A learning rate that destroys what was learnt is told of, and takes nothing with it.
    const { stderr } = await succeeds(
      args(folder, out, "--steps", "4", "--lr", "1e4"),
    );
    assert.match(
      stderr,
      /^warning: the loss, [\d.]+, is that of guessing among 768 tokens \(6\.6438\)/m,
    );
    assert.deepEqual(await readTree(`${out}/runs/1`), first);
    assert.deepEqual(await adapterOf(`${out}/runs/0`), start);
    assert.deepEqual(await readTree(`${out}/backbone`), backbone);
    const { train } = await json(`${out}/loqa.json`);
    assert.deepEqual([train.run, train.steps], [2, 4]);
    assert.deepEqual(await adapterOf(out), await adapterOf(`${out}/runs/2`));
    // The same run again ends with the same bytes: it starts from the start.
    await succeeds(args(folder, out, "--steps", "3"));
    assert.deepEqual(
      await adapterOf(`${out}/runs/3`),
      await adapterOf(`${out}/runs/1`),
    );
    // And from another run where that is asked for, by its number or as a path.
    await succeeds(args(folder, out, "--steps", "3", "--from", "1"));
    await succeeds(args(folder, `${out}/runs/1`, "--steps", "3"));
    assert.deepEqual(
      await adapterOf(`${out}/runs/5`),
      await adapterOf(`${out}/runs/4`),
    );
    const evaluations = await Promise.all(
      [`${out}/runs/4`, `${out}/runs/1/adapter`].map((path) =>
        measure(folder, path)
      ),
    );
    assert.notEqual(evaluations[0].perplexity, evaluations[1].perplexity);
    const { stdout } = await loqa("inspect", out);
    assert.match(stdout, /^Before any training, as init left it:$/m);
    assert.match(
      stdout,
      /^2 +4 +initial +data\.txt +[\d.]+ -> [\d.]+$/m,
    );
    assert.match(stdout, /^5 +3 +run 1 .* current result$/m);
  }));

Deno.test("a training that was interrupted: every verb says so and which it takes, and --checkpoint takes a step", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    await initInto(folder, out);
    const start = await measure(folder, out);
    assert.equal(start.stderr, "");
    const last = await interrupted(folder, out, 1);
    const line = new RegExp(
      `^loqa: the training of .*/out is unfinished: run 1 was last saved at step ${last} of 100000; using the adapter of init; --checkpoint last takes that step, loqa train with --resume continues the run\n$`,
    );
    const now = await measure(folder, out);
    assert.match(now.stderr, line);
    assert.equal(now.perplexity, start.perplexity);
    const step = await measure(folder, out, "--checkpoint", "last");
    assert.notEqual(step.perplexity, start.perplexity);
    for (
      const more of [
        [out, "--checkpoint", `${last}`],
        [`${out}/runs/1`, "--checkpoint", "last"],
        [`${out}/runs/1/checkpoints/step-${`${last}`.padStart(6, "0")}`],
      ]
    ) {
      assert.equal(
        (await measure(folder, ...more)).perplexity,
        step.perplexity,
      );
    }
    const generated = await succeeds([
      ...["generate", out, "--prompt", "a", "--max-new-tokens", "1"],
      ...["--quiet", ...DEVICE],
    ]);
    assert.match(generated.stderr, line);
    const merge = (to: string, ...more: string[]) =>
      succeeds([
        "merge",
        out,
        "-o",
        to,
        "--quiet",
        "--device",
        "wasm",
        ...more,
      ]);
    assert.match((await merge(`${folder}/m`)).stderr, line);
    await merge(`${folder}/m2`, "--checkpoint", "last");
    assert.notDeepEqual(
      await Deno.readFile(`${folder}/m/model.safetensors`),
      await Deno.readFile(`${folder}/m2/model.safetensors`),
    );
    await failsWith(
      ["eval", out, "--task", "ppl", "--data", "x", "--checkpoint", "7000"],
      /Cannot take the checkpoint "7000" of .*: wanted last, a step or a path, there are runs\/1\/checkpoints\/step-\d+/,
    );
    await failsWith(
      ["eval", `${out}/runs/1`, "--task", "ppl", "--data", "x"],
      /Cannot open .*\/runs\/1: the training of .* is unfinished: .* it has no result yet; --checkpoint last/,
    );
  }));

Deno.test("--checkpoint last is that of the run that --resume goes on with, and says which it is", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    await initInto(folder, out);
    const last = await interrupted(folder, out, 1);
    const loud = args(folder, out, "--steps", "3", "--save-every", "1")
      .filter((arg) => arg !== "--quiet");
    assert.match(
      (await succeeds(loud)).stderr,
      new RegExp(
        `^run 1 of ${out} is unfinished, saved at step ${last} of 100000, and stays; --resume continues it$`,
        "m",
      ),
    );
    const told = async (...more: string[]) => {
      const { stderr } = await succeeds([
        ...["generate", out, "--prompt", "a", "--max-new-tokens", "1"],
        ...[...DEVICE, ...more],
      ]);
      return /^loqa: using (.*)$/m.exec(stderr)?.[1];
    };
    // Run 2 is the newest, but has ended.
    assert.equal(
      await told("--checkpoint", "last"),
      `step ${last} of run 1 of ${out}, which has not ended`,
    );
    assert.equal(await told("--checkpoint", "2"), `step 2 of run 2 of ${out}`);
    assert.equal(await told(), undefined);
    await Deno.remove(`${out}/runs/1`, { recursive: true });
    assert.equal(
      await told("--checkpoint", "last"),
      `step 3 of run 2 of ${out}`,
    );
  }));

Deno.test("a training whose last update ruins the model is an error that names the last good checkpoint, and publishes nothing", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    const example = new URL("../../examples/model", import.meta.url).pathname;
    // A model that knows something: the first update of a warm-up is of nothing, the second of 1e4.
    const ruin = (steps: string, ...more: string[]) =>
      overridden([
        ...["train", example, "--method", "lora", "--rank", "2", "-o", out],
        ...["--data", `${folder}/data.txt`, "--block", "16", "--batch", "2"],
        ...["--lr", "1e4", "--warmup", "1", "--save-every", "1", "--quiet"],
        ...["--steps", steps, ...DEVICE],
      ], more);
    const line =
      /^loqa: Cannot go on training: after step 2 the loss, [\d.]+, is that of guessing; the last good checkpoint is .*\/runs\/1\/checkpoints\/step-000001$/m;
    await failsWith(ruin("2"), line);
    assert.deepEqual(await savedSteps(out), [1]);
    assert.equal(await there(`${out}/adapter`), false);
    assert.equal(await there(`${out}/runs/1/adapter`), false);
    // The same again, from the last good one.
    await failsWith(ruin("2", "--resume"), line);
    // One in the middle takes no good one's place either.
    const { code, stderr } = await loqa(
      ...ruin("20", "-o", `${folder}/long`),
    );
    assert.equal(code, 1);
    assert.match(
      stderr,
      /from step 3 on .*; the last good checkpoint is .*step-000001$/m,
    );
    // Where the result of a run before it stands, that stays.
    await succeeds(ruin("1", "--lr", "1e-3", "-o", `${folder}/kept`));
    const kept = await readTree(`${folder}/kept/adapter`);
    await failsWith(ruin("2", "-o", `${folder}/kept`), /step-000001$/m);
    assert.deepEqual(await readTree(`${folder}/kept/adapter`), kept);
  }));

Deno.test("weights that a folder's file names outside of it are told before they are read, and refused where they are no model", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    await succeeds(fresh(folder, out, "--steps", "1"));
    const generate = (path: string, ...more: string[]) => [
      ...["generate", path, "--prompt", "a", "--max-new-tokens", "1"],
      ...[...DEVICE, ...more],
    ];
    const line = (by: string) =>
      new RegExp(`^loqa: base model: \\S+/model \\(named by ${by}\\)$`, "m");
    const report = `${out}/loqa.json`;
    assert.match((await succeeds(generate(out))).stderr, line(report));
    const model = `${folder}/model`;
    const named = await succeeds(generate(out, "--model", model));
    assert.doesNotMatch(named.stderr, /base model/);
    // An adapter by itself, of PEFT's.
    await Deno.rename(`${out}/adapter`, `${folder}/alone`);
    assert.match(
      (await succeeds(generate(`${folder}/alone`))).stderr,
      line(`${folder}/alone/adapter_config.json`),
    );
    await Deno.rename(`${folder}/alone`, `${out}/adapter`);
    // What stands in the folder is its own.
    await initInto(folder, `${folder}/own`);
    await succeeds(args(folder, `${folder}/own`, "--steps", "1"));
    for (const path of ["own", "own/runs/1"]) {
      const { stderr } = await succeeds(generate(`${folder}/${path}`));
      assert.doesNotMatch(stderr, /base model/);
    }
    for (const secret of [`${folder}/data.txt`, `${folder}/own/runs`]) {
      const { weights: _, ...rest } = await json(report);
      await Deno.writeTextFile(
        report,
        JSON.stringify({ ...rest, model: secret }),
      );
      await failsWith(
        generate(out),
        new RegExp(
          `^loqa: Cannot open .*/out: "${secret}", which ${report} names, is no model; say where the model is by --model PATH$`,
          "m",
        ),
      );
    }
  }));

Deno.test("--resume with more steps makes a run longer, and says what differs where it refuses", () =>
  withTrainable(async (folder) => {
    const [out, whole] = [`${folder}/out`, `${folder}/whole`];
    const steady = ["--schedule", "constant", "--warmup", "0"];
    await succeeds(fresh(folder, whole, "--steps", "30", ...steady));
    await succeeds(fresh(folder, out, "--steps", "10", ...steady));
    await succeeds(fresh(folder, out, "--steps", "30", ...steady, "--resume"));
    // Where the schedule does not depend on the length, nothing does.
    assert.deepEqual(await adapterOf(out), await adapterOf(whole));
    assert.equal(
      await Deno.readTextFile(`${out}/runs/1/metrics.jsonl`),
      await Deno.readTextFile(`${whole}/runs/1/metrics.jsonl`),
    );
    assert.equal(await there(`${out}/runs/2`), false);

    const before = await readTree(out);
    const refused = async (reason: string, ...more: string[]) => {
      await failsWith(
        fresh(folder, out, ...steady, "--resume", ...more),
        new RegExp(
          `^loqa: Cannot resume .*/out/runs/1: ${reason}; run without --resume to start another run$`,
          "m",
        ),
      );
      assert.deepEqual(await readTree(out), before);
    };
    await refused("--lr was 0.001, is 0.5", "--lr", "0.5");
    await refused("--seq-len was 16, is 24", "--seq-len", "24");
    await refused(
      "--batch was 2, is 3; --seed was 0, is 9",
      ...["--batch", "3", "--seed", "9"],
    );
    await refused(
      "it is of 30 steps, and only more can be asked for, got 20",
      ...["--steps", "20"],
    );
    await refused("--threads was 1, is 2", "--threads", "2");
    const text = await Deno.readTextFile(`${folder}/data.txt`);
    await Deno.writeTextFile(`${folder}/data.txt`, text.slice(0, 5000));
    await refused(
      "the data differ: were \\d+ examples of .*/data\\.txt, are \\d+ examples of .*/data\\.txt",
    );
    await Deno.writeTextFile(`${folder}/data.txt`, text);
    // Only the last bytes: the first rows of all tensors are as they were.
    const model = `${folder}/model/model.safetensors`;
    const bytes = await Deno.readFile(model);
    await Deno.writeFile(model, bytes.with(bytes.length - 3, 1));
    await refused("the model changed: model\\.safetensors holds other values");
    await Deno.writeFile(model, bytes);
    await Deno.utime(model, 1, 1);
    await refused(
      "the model changed: model\\.safetensors was written at 1970-01-01T00:00:01\\.000Z",
    );
  }));

Deno.test("--adapter means the same to every verb: it stands in the place of the model's own", () =>
  withTrainable(async (folder) => {
    const [out, other] = [`${folder}/out`, `${folder}/other`];
    await succeeds(fresh(folder, out, "--steps", "20", "--lr", "1e-2"));
    await succeeds(fresh(folder, other, "--steps", "9", "--lr", "1e-2"));
    const of = async (...more: string[]) =>
      (await measure(folder, ...more)).perplexity;
    const [own, alone] = [await of(out), await of(other)];
    assert.equal(await of(out, "--adapter", `${out}/adapter`), own);
    assert.equal(await of(out, "--adapter", `x=${out}/adapter`), own);
    assert.equal(await of(out, "--adapter", `${other}/runs/1`), alone);
    assert.equal(await of(`${other}/adapter`), alone);
    const bare = await of(`${folder}/model`);
    assert.equal(await of(out, "--no-adapter"), bare);
    const both = await of(
      ...[out, "--adapter", `a=${out}`, "--adapter", `b=${other}`],
    );
    assert.ok(![own, alone, bare].includes(both));
    const merged = async (name: string, ...more: string[]) => {
      const to = `${folder}/${name}`;
      await succeeds([
        ...["merge", out, "-o", to, "--dtype", "f32", "--quiet"],
        ...["--device", "wasm", ...more],
      ]);
      return await of(to);
    };
    const near = (a: number, b: number) => Math.abs(a / b - 1) < 1e-5;
    assert.ok(near(await merged("m1"), own));
    assert.ok(near(await merged("m2", "--adapter", `${other}/adapter`), alone));
    await failsWith(
      ["export", out, "--to", "gguf", "-o", `${folder}/x.gguf`],
      /its adapter .* is not merged; run "loqa merge .* -o MERGED" first/,
    );
  }));

Deno.test("an adapter finds its model from any folder; one that was moved or changed is told", () =>
  withTrainable(async (folder) => {
    const main = new URL("../../src/cli/main.ts", import.meta.url).pathname;
    const at = async (cwd: string, ...argv: string[]) =>
      await outcome(
        new Deno.Command(Deno.execPath(), {
          args: ["run", "-A", "--quiet", main, ...argv],
          ...{ cwd, stdin: "null", stdout: "piped", stderr: "piped" },
        }).spawn(),
      );
    const made = await at(
      folder,
      ...["train", "model", "-o", "out", "--method", "lora", "--rank", "2"],
      ...["--data", "data.txt", "--steps", "1", "--block", "16", "--quiet"],
      ...DEVICE,
    );
    assert.equal(made.code, 0, made.stderr);
    const text = ["--prompt", "a", "--max-new-tokens", "1", "--quiet"];
    const away = await at("/", "generate", `${folder}/out`, ...text, ...DEVICE);
    assert.equal(away.code, 0, away.stderr);
    const { base_model_name_or_path: base } = await json(
      `${folder}/out/adapter/adapter_config.json`,
    );
    assert.equal(base, await Deno.realPath(`${folder}/model`));

    await Deno.rename(`${folder}/model`, `${folder}/moved`);
    const generate = ["generate", `${folder}/out`, ...text, ...DEVICE];
    await failsWith(
      generate,
      /Cannot open .*\/out: the model ".*\/model" that its loqa.json names is not there; say where it is by --model PATH$/m,
    );
    const { stderr } = await succeeds([
      ...[...generate, "--model", `${folder}/moved`],
    ]);
    assert.equal(stderr, "");
    await Deno.rename(`${folder}/moved`, `${folder}/model`);
    const file = `${folder}/model/model.safetensors`;
    const bytes = await Deno.readFile(file);
    await Deno.writeFile(file, bytes.with(bytes.length - 3, 1));
    await failsWith(
      generate,
      /the model ".*\/model" is not what .*\/out was made with \(model\.safetensors holds other values\)/,
    );
  }));

Deno.test("two trainings in one folder: the second is refused with the process of the first", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    await initInto(folder, out);
    const first = spawnLoqa(
      args(folder, out, "--steps", "100000", "--save-every", "5"),
    );
    await untilSaved(first, out, 5);
    await failsWith(
      args(folder, out, "--steps", "3"),
      new RegExp(
        `^loqa: Cannot write to ".*/out": process ${first.pid} on .* \\(train, since .*\\) writes there`,
      ),
    );
    first.kill("SIGKILL");
    await outcome(first);
    assert.equal(await there(`${out}/runs/2`), false);
    await succeeds(args(folder, out, "--steps", "3"));
    assert.equal((await json(`${out}/loqa.json`)).train.run, 2);
  }));

Deno.test("what a kill left of an old checkpoint is taken away, and a reader that is gone ends no training", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    const long = (...more: string[]) =>
      fresh(
        ...[folder, out, "--steps", "60", "--save-every", "10", "--keep", "1"],
        ...more,
      );
    await succeeds(long());
    const kept = `${out}/runs/1/checkpoints`;
    for (const name of ["step-000010.removed", "step-000070.partial"]) {
      await Deno.mkdir(`${kept}/${name}`);
    }
    await Deno.mkdir(`${kept}/step-000020`);
    await succeeds(long("--resume"));
    assert.deepEqual(
      (await Array.fromAsync(Deno.readDir(kept))).map(({ name }) => name),
      ["step-000060"],
    );
    const talking = fresh(folder, `${folder}/told`, "--steps", "30")
      .filter((arg) => arg !== "--quiet");
    const child = spawnLoqa(talking);
    await child.stderr.cancel();
    const { code } = await child.status;
    await child.stdout.cancel();
    assert.equal(code, 0);
  }));

Deno.test("a folder that init wrote is not given up for a model trained in full, or another model's adapter", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    await initInto(folder, out);
    const before = await readTree(out);
    for (const method of ["full", "lora"]) {
      await failsWith(
        args(
          folder,
          `${folder}/model`,
          ...["-o", out, "--method", method, "--steps", "1"],
        ),
        /^loqa: Cannot write to .*\/out: it holds an adapter initialised on .*\/backbone, which .* would take the place of; wanted another folder \(-o\)$/m,
      );
      assert.deepEqual(await readTree(out), before);
    }
  }));

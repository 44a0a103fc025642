import assert from "node:assert/strict";
import { Random } from "../../src/tensor/random.ts";
import { outcome, spawnLoqa } from "../helpers/cli.ts";
import { integer } from "../helpers/inputs.ts";
import { readTree } from "../helpers/model.ts";
import { failsWith, sleep, succeeds, there } from "./work.ts";
import {
  initInto,
  savedSteps,
  trainArgs,
  trained,
  untilSaved,
  withTrainable,
} from "./train_work.ts";

/** Runs of each kind, with what makes their steps depend on where they are. */
const KINDS = {
  "an adapter on an nf4 model": {
    prepare: initInto,
    args: (folder: string, out: string, ...more: string[]) => [
      ...["train", out],
      ...trainArgs(
        ...[folder, out, "--dropout", "0.1", "--accumulation", "2"] as const,
        ...["--method", "adapter", "--steps", "120", ...more],
      ).slice(2),
    ],
  },
  "all weights": {
    prepare: () => Promise.resolve(),
    args: (folder: string, out: string, ...more: string[]) =>
      trainArgs(
        folder,
        out,
        ...["--method", "full", "--checkpointing", "--weight-decay", "0.1"],
        ...["--eval", `${folder}/data.txt`, "--eval-every", "70", ...more],
      ),
  },
};

for (const [kind, { prepare, args }] of Object.entries(KINDS)) {
  Deno.test(`training ${kind}: kill -9 at random moments, and --resume ends with the bytes of an unbroken run`, () =>
    withTrainable(async (folder) => {
      const [whole, out] = [`${folder}/whole`, `${folder}/out`];
      await prepare(folder, whole);
      await prepare(folder, out);
      await succeeds(args(folder, whole));
      const random = new Random(2, kind);
      let kills = 0;
      for (let last = 0; kills < 3;) {
        const child = spawnLoqa(args(folder, out, "--resume"));
        await untilSaved(child, out, last + 20);
        await sleep(integer(random, 0, 40));
        try {
          child.kill("SIGKILL");
        } catch {
          // It has ended by itself.
        }
        const { code, stderr } = await outcome(child);
        if (code === 0) break;
        assert.equal(code, 137, stderr);
        const saved = (await savedSteps(out)).at(-1)!;
        assert.ok(saved > last, `${last} steps became ${saved}`);
        last = saved;
        kills++;
      }
      assert.ok(kills > 0, "it was too fast to be killed");
      await succeeds(args(folder, out, "--resume"));
      const wanted = await trained(whole);
      assert.deepEqual(await trained(out), wanted);
      // What ended is only told again.
      await succeeds(args(folder, out, "--resume"));
      assert.deepEqual(await trained(out), wanted);
    }));
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`training: ${signal} saves the step, exit 130, and --resume ends with the same bytes`, () =>
    withTrainable(async (folder) => {
      const [whole, out] = [`${folder}/whole`, `${folder}/out`];
      await succeeds(trainArgs(folder, whole));
      // No checkpoint but the one that the signal asks for.
      const args = (...more: string[]) =>
        trainArgs(folder, out, "--save-every", "1000", ...more);
      const child = spawnLoqa(args());
      while (!await there(`${out}/runs/1/metrics.jsonl`)) await sleep(3);
      child.kill(signal);
      const { code, stdout, stderr } = await outcome(child);
      assert.deepEqual([code, stdout, stderr], [
        130,
        "",
        "loqa: interrupted; continue with the same command and --resume\n",
      ]);
      const saved = await savedSteps(out);
      assert.equal(saved.length, 1);
      assert.ok(saved[0] > 0 && saved[0] < 200);
      assert.equal(await there(`${out}/adapter`), false);

      const before = await readTree(out);
      await failsWith(
        args("--resume", "--seed", "1"),
        /^loqa: Cannot resume .*\/out\/runs\/1: --seed was 0, is 1; run without --resume to start another run$/m,
      );
      assert.deepEqual(await readTree(out), before);
      await succeeds(args("--resume"));
      const same = [
        "adapter/adapter_model.safetensors",
        "runs/1/metrics.jsonl",
      ];
      const [wanted, found] = [await trained(whole), await trained(out)];
      for (const file of same) {
        assert.deepEqual(found.get(file), wanted.get(file), file);
      }
    }));
}

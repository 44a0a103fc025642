import assert from "node:assert/strict";
import { outcome, spawnLoqa } from "../helpers/cli.ts";
import { comparable, readTree } from "../helpers/model.ts";
import { Random } from "../../src/tensor/random.ts";
import { integer } from "../helpers/inputs.ts";
import {
  assertSame,
  failsWith,
  initArgs,
  safeLayers,
  sleep,
  succeeds,
  there,
  untilLayers,
  withModel,
} from "./work.ts";

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`${signal}: exit 130, nothing at OUT, and --resume ends with the same bytes`, () =>
    withModel(async (folder) => {
      const out = `${folder}/out`;
      await succeeds(initArgs(folder, `${folder}/whole`));
      const child = spawnLoqa(initArgs(folder, out));
      await untilLayers(child, out, 5);
      child.kill(signal);
      const { code, stdout, stderr } = await outcome(child);
      assert.equal(code, 130, stderr);
      assert.equal(stdout, "");
      assert.equal(
        stderr,
        "loqa: interrupted; continue with the same command and --resume\n",
      );
      assert.equal(await there(out), false);
      const done = await safeLayers(out);
      assert.ok(done >= 5 && done < 28, `${done} layers`);
      const before = await readTree(folder);
      await failsWith(
        initArgs(folder, out, "--resume", "--seed", "1"),
        /^loqa: Cannot resume: .*journal\.json is of a run with other options/,
      );
      assert.deepEqual(await readTree(folder), before);
      await succeeds(initArgs(folder, out, "--resume"));
      await assertSame(out, await comparable(`${folder}/whole`));
    }));
}

Deno.test("kill -9 at random moments: OUT is absent or whole, and --resume gets there", () =>
  withModel(async (folder) => {
    const out = `${folder}/out`;
    await succeeds(initArgs(folder, `${folder}/whole`));
    const whole = await comparable(`${folder}/whole`);
    const random = new Random(1, "kill");
    let kills = 0;
    let last = 0;
    for (let attempt = 0; attempt < 20 && kills < 4; attempt++) {
      const child = spawnLoqa(initArgs(folder, out, "--resume"));
      // By what is done, not by the clock, so that a slow machine gets on as well.
      await untilLayers(child, out, last + integer(random, 1, 6));
      await sleep(integer(random, 0, 30));
      if (!await there(out)) {
        child.kill("SIGKILL");
        kills++;
      }
      await outcome(child);
      if (await there(out)) {
        // A fast machine may be done before it is killed so often: once more from the start.
        assert.deepEqual(await comparable(out), whole);
        await Deno.remove(out, { recursive: true });
        last = 0;
        continue;
      }
      const done = await safeLayers(out);
      assert.ok(done >= last, `${last} layers became ${done}`);
      last = done;
    }
    assert.ok(kills >= 3, `${kills} kills`);
    await succeeds(initArgs(folder, out, "--resume"));
    await assertSame(out, whole);
  }));

Deno.test("an old result stays whole until the new one is", () =>
  withModel(async (folder) => {
    const out = `${folder}/out`;
    await succeeds(initArgs(folder, out, "--format", "int2"));
    const old = await readTree(out);
    for (const layers of [0, 1, 20]) {
      const child = spawnLoqa(initArgs(folder, out, "--force"));
      await untilLayers(child, out, layers);
      child.kill("SIGKILL");
      await outcome(child);
      const found = await readTree(out);
      found.delete("loqa.lock");
      assert.deepEqual(found, old);
    }
    await succeeds(initArgs(folder, out, "--force", "--resume"));
    await succeeds(initArgs(folder, `${folder}/whole`));
    await assertSame(out, await comparable(`${folder}/whole`));
  }));

import assert from "node:assert/strict";
import { plan, PLAN_DEFAULTS } from "../../../src/plan/run.ts";
import { loqa } from "../../helpers/cli.ts";

const EXAMPLE = new URL("../../../examples/model", import.meta.url).pathname;

Deno.test("plan(): a known model, and a folder; the verb prints what the function says", async () => {
  const { model, rank, methods } = await plan("llama-7b");
  assert.deepEqual([model, rank], ["llama-7b", PLAN_DEFAULTS.rank]);
  // Xu et al., QA-LoRA (2309.14717), Table 2: 89 M learnable parameters.
  assert.equal(Math.round(methods.qalora.trainableParameters / 1e6), 89);
  const report = await plan(EXAMPLE, { rank: 4, bits: 2 });
  const { stdout } = await loqa(
    ...["plan", EXAMPLE, "--rank", "4", "--bits", "2", "--json"],
  );
  assert.deepEqual(JSON.parse(stdout), report);
  await assert.rejects(plan("llama-8b"), /Cannot plan for "llama-8b": wanted/);
});

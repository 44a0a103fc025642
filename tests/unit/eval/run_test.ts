import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { OptionError } from "../../../src/errors.ts";
import { evaluate } from "../../../src/eval/run.ts";

const EXAMPLE = new URL("../../../examples/model", import.meta.url).pathname;
const task = { task: "ppl", data: `${EXAMPLE}/heldout.txt` } as const;

Deno.test("evaluate(): a folder and a task's data become figures", async () => {
  using device = await openDevice("wasm", { network: true });
  const stages: string[] = [];
  const { metrics, count, seconds, ...report } = await evaluate(EXAMPLE, {
    ...{ ...task, device, block: 32, limit: 2 },
    onProgress: (_, text) => stages.push(text),
  });
  assert.deepEqual([report.verb, report.task, count], ["eval", "ppl", 62]);
  assert.ok(metrics.perplexity > 1 && seconds > 0);
  assert.equal(stages.at(-1), "ppl: 2 of 2");
});

Deno.test("evaluate(): options that do not go with the model are told in a program's words", async () => {
  using device = await openDevice("wasm", { network: true });
  for (
    const [options, message] of [
      [
        { block: 1e6 },
        /windows of 1000000 tokens: the model's context is \d+$/,
      ],
      [{ writing: { beams: 2 } }, /beam search \(beams\).*encoder-decoder/],
    ] as const
  ) {
    await assert.rejects(
      evaluate(EXAMPLE, { ...task, device, ...options }),
      (error: Error) => {
        assert.ok(error instanceof OptionError);
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /--/);
        return true;
      },
    );
  }
  const warnings: string[] = [];
  await evaluate(EXAMPLE, {
    ...{ ...task, device, block: 32, limit: 1, compute: "int8" },
    onWarning: (line) => warnings.push(line),
  });
  assert.match(warnings.join(), /^compute int8 has no effect/);
});

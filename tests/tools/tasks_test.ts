import assert from "node:assert/strict";
import { ROOT } from "./source.ts";

Deno.test("tasks: test:slow runs what test:unit leaves out", async () => {
  const { tasks } = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", ROOT)),
  );
  const left = /--ignore=(\S+)/.exec(tasks["test:unit"].command)![1].split(",");
  const taken = tasks["test:slow"].command.match(/ tests\/\S+/g);
  assert.deepEqual(taken.map((path: string) => path.trim()), left);
  for (const path of left) await Deno.stat(new URL(path, ROOT));
});

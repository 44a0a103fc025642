import assert from "node:assert/strict";
import { goldenFaults, scriptOf, versionsOf } from "./golden.ts";

Deno.test("goldens: the script of a file lies beside it or above, tables have their own", () => {
  const scripts = new Set([
    "io/make.py",
    "eval/make.py",
    "eval/make_parquet.py",
  ]);
  assert.equal(
    scriptOf("io/adapter/adapter_config.json", scripts),
    "io/make.py",
  );
  assert.equal(
    scriptOf("eval/rows-lz4.parquet", scripts),
    "eval/make_parquet.py",
  );
  assert.equal(scriptOf("eval/eval.json", scripts), "eval/make.py");
  assert.equal(scriptOf("new/x.json", scripts), undefined);
});

Deno.test("goldens: versions are those of the docstring", () => {
  const source =
    '"""Makes x.\n\nRun with Python 3.11, torch 2.13.0+cpu, hqq 0.2.8.post1 (of 2 files).\n"""\nx = "numpy 1.2"\n';
  assert.deepEqual(versionsOf(source), [
    "Python 3.11",
    "torch 2.13.0+cpu",
    "hqq 0.2.8.post1",
  ]);
});

Deno.test("goldens: every file has its script, and the bytes that index.json says (deno task golden:check)", async () => {
  assert.deepEqual(await goldenFaults(), []);
});

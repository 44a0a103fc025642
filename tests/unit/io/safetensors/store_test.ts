import assert from "node:assert/strict";
import { openSafetensorsIndex } from "../../../../src/io/safetensors/store.ts";
import { files, rawSafetensors, rejects } from "../helpers.ts";

const INDEX = "model.safetensors.index.json";
const u8 = (n: number) => ({ dtype: "U8", shape: [n], data_offsets: [0, n] });
const one = rawSafetensors({ a: u8(2) }, Uint8Array.of(1, 2));
const two = rawSafetensors({ b: u8(1) }, Uint8Array.of(9));

Deno.test("openSafetensorsIndex() reads tensors of several files", async () => {
  await using store = await openSafetensorsIndex(
    files({
      [INDEX]: JSON.stringify({
        metadata: { total_size: 3 },
        weight_map: { b: "m-2.safetensors", a: "m-1.safetensors" },
      }),
      "m-1.safetensors": one,
      "m-2.safetensors": two,
    }),
    INDEX,
  );
  assert.deepEqual([...store.tensors.keys()], ["a", "b"]);
  assert.deepEqual(
    await store.tensors.get("a")!.readRaw(0, 2),
    Uint8Array.of(1, 2),
  );
});

const BAD: Record<string, [unknown, ...string[]]> = {
  "no weight_map": [{}, "weight_map"],
  "a missing file": [{ weight_map: { a: "m-7.safetensors" } }, "m-7"],
  "a missing tensor": [
    { weight_map: { a: "m-1.safetensors", q: "m-2.safetensors" } },
    `"q"`,
    "m-2.safetensors",
  ],
  "a file name that is a path": [
    { weight_map: { a: "../secret.safetensors" } },
    "../secret.safetensors",
  ],
  "an absolute path": [{ weight_map: { a: "/etc/passwd" } }, "/etc/passwd"],
  "a backslash": [{ weight_map: { a: "..\\x" } }, "beside it"],
  "a drive": [{ weight_map: { a: "c:x" } }, "beside it"],
  "a name that is no text": [{ weight_map: { a: 3 } }, `"a"`],
  "several faults": [
    { weight_map: { a: "m-7.safetensors", b: "../x" } },
    "m-7",
    "../x",
  ],
};

for (const [what, [index, ...parts]] of Object.entries(BAD)) {
  Deno.test(`openSafetensorsIndex() refuses ${what}`, async () => {
    await rejects(
      () =>
        openSafetensorsIndex(
          files({
            [INDEX]: JSON.stringify(index),
            "m-1.safetensors": one,
            "m-2.safetensors": two,
          }),
          INDEX,
        ),
      SyntaxError,
      "folder",
      ...parts,
    );
  });
}

import { lacking } from "../../../helpers/inputs.ts";
import assert from "node:assert/strict";
import { fileSource } from "../../../../src/io/files/deno.ts";
import { readPickle } from "../../../../src/io/torch/pickle.ts";
import { bytesSource } from "../../../../src/io/files/sources.ts";
import { readTorch } from "../../../../src/io/torch/store.ts";
import {
  goldenBytes,
  goldenJson,
  goldenSource,
  rejects,
  sha256,
} from "../helpers.ts";

Deno.test("readTorch() reads what torch.save() wrote, views and all", async () => {
  const golden = await goldenJson<{ shape: number[]; sha256: string }>(
    "torch.json",
  );
  await using source = await goldenSource("tensors.bin");
  const tensors = await readTorch(source);
  assert.deepEqual([...tensors.keys()], Object.keys(golden));
  for (const [name, { shape, sha256: wanted }] of Object.entries(golden)) {
    const reader = tensors.get(name)!;
    assert.deepEqual(reader.info.shape, shape, name);
    const rows = shape[0] ?? 1;
    const whole = await reader.readRaw(0, rows);
    assert.equal(await sha256(whole), wanted, name);
    const row = whole.length / (rows || 1);
    for (let from = 0; from < rows; from++) {
      assert.deepEqual(
        await reader.readRaw(from, rows),
        whole.slice(from * row),
        `${name} from ${from}`,
      );
    }
  }
});

Deno.test("readTorch() looks into a training script's state_dict", async () => {
  await using source = await goldenSource("wrapped.pt");
  assert.deepEqual([...(await readTorch(source)).keys()], ["w"]);
});

Deno.test("readTorch() runs no code and names what it refuses", async () => {
  await using source = await goldenSource("evil.bin");
  await rejects(
    () => readTorch(source),
    SyntaxError,
    "evil.bin",
    ".system",
    "refused",
  );
});

Deno.test("readTorch() tells a file of the old format", async () => {
  await using source = await goldenSource("legacy.bin");
  await rejects(() => readTorch(source), SyntaxError, "legacy.bin", "1.6");
});

Deno.test("readTorch() refuses a file cut anywhere", async () => {
  const bytes = await goldenBytes("tensors.bin");
  for (let n = 0; n < bytes.length; n += 61) {
    await rejects(
      () => readTorch(bytesSource(bytes.subarray(0, n), "cut.bin")),
      SyntaxError,
      "cut.bin",
    );
  }
});

const text = (s: string) => new TextEncoder().encode(s);
const join = (...parts: (string | number[])[]) =>
  Uint8Array.from(
    parts.flatMap((p) => typeof p === "string" ? [...text(p)] : p),
  );

const PICKLES: Record<string, [Uint8Array<ArrayBuffer>, string]> = {
  "nothing": [join(), "ends early"],
  "an end in a text": [join([0x58, 255, 255, 255, 255]), "ends early"],
  "an empty stack": [join("R"), "empty"],
  "no mark": [join("}u."), "mark"],
  "a missing memo": [join([0x68, 9]), "memo"],
  "an unknown operation": [join([0xff]), "0xff"],
  "an import": [join("csubprocess\nPopen\n."), "subprocess.Popen"],
  "an import from the stack": [
    join([0x8c, 2], "os", [0x8c, 6], "system", [0x93]),
    "os.system",
  ],
  "a name made of lists": [join("]]", [0x93]), "no text"],
  "a call of a text": [join([0x8c, 1], "f)R."), "no function"],
  "a class as the value": [join("ccollections\nOrderedDict\n."), "no value"],
  "a number of a megabyte": [join([0x8b, 0, 0, 16, 0]), "1048576"],
  "a storage of an unknown kind": [join(")Q."), "no storage"],
  "a text that is no UTF-8": [join([0x8c, 1, 0xff], "."), "UTF-8"],
  "a list that is built like an object": [join("]}b."), "no dictionary"],
};

for (const [what, [bytes, part]] of Object.entries(PICKLES)) {
  Deno.test(`readPickle() refuses ${what}`, () => {
    assert.throws(
      () => readPickle(bytes, "x.bin"),
      (error) =>
        error instanceof SyntaxError && error.message.includes("x.bin") &&
        error.message.includes(part),
    );
  });
}

const REAL = new URL(
  "../../../../../shared/data/lora/roberta_base_lora_mnli.bin",
  import.meta.url,
).pathname;
const hasReal = await Deno.stat(REAL).then(() => true, () => false);

Deno.test({
  name: `readTorch() reads a published LoRA adapter${
    lacking(hasReal, "../shared/data/lora")
  }`,
  ignore: !hasReal,
  async fn() {
    await using source = await fileSource(REAL);
    const tensors = await readTorch(source);
    assert.equal(tensors.size, 52);
    const a = tensors.get(
      "roberta.encoder.layer.0.attention.self.query.lora_A",
    )!;
    const whole = await a.readF32(0, a.info.shape[0]);
    assert.equal(whole.length, a.info.shape[0] * a.info.shape[1]);
    assert.ok(whole.every(Number.isFinite) && whole.some((x) => x !== 0));
  },
});

import assert from "node:assert/strict";
import {
  dequantize,
  loftq,
  mat,
  matrix,
  openDevice,
  Random,
  relativeError,
} from "../mod.ts";
import { openLm } from "../src/lm/lm.ts";

// A minute's worth of certainty in some seconds: each part of the way once. What each part must do is tested elsewhere.

const MODEL = new URL("../examples/model", import.meta.url).pathname;

Deno.test("smoke: a product on wasm is that of the reference", async () => {
  const random = new Random(1);
  const [a, b] = [random.normals(48 * 40), random.normals(40 * 56)];
  const results: Float32Array[] = [];
  for (const name of ["reference", "wasm"] as const) {
    using device = await openDevice(name);
    using on = new DisposableStack();
    const put = (data: Float32Array, rows: number, cols: number) => {
      const buffer = on.use(device.alloc(data.byteLength));
      device.write(buffer, data);
      return mat(buffer, rows, cols);
    };
    const c = put(new Float32Array(48 * 56), 48, 56);
    device.ops.gemm({ a: put(a, 48, 40), b: put(b, 40, 56), c });
    results.push(new Float32Array((await device.read(c.buffer)).buffer));
  }
  const [wanted, got] = results;
  wanted.forEach((x, i) => assert.ok(Math.abs(x - got[i]) < 1e-4));
});

Deno.test("smoke: LoftQ is closer to a weight than quantising it", async () => {
  const weight = matrix(64, 96, new Random(0).normals(64 * 96));
  const options = { format: "nf2", rank: 8, iterations: 3 } as const;
  const { backbone, plainError, error } = await loftq(weight, options);
  assert.ok(error < plainError);
  const q = await dequantize(backbone);
  assert.ok(relativeError(q, weight) < 1);
});

Deno.test("smoke: a model writes, learns an answer, and writes that", async () => {
  await using lm = await openLm(MODEL, { device: "wasm", threads: 1 });
  const write = async () =>
    (await Array.fromAsync(
      lm.generate("Anouk the singer", { maxNewTokens: 8 }),
    )).join("");
  assert.match(await write(), /^ lived near/);
  const records = [{ prompt: "Anouk the singer", completion: " sells boats." }];
  const training = lm.train(records, {
    steps: 25,
    batch: 1,
    learningRate: 1e-2,
  });
  const losses = await Array.fromAsync(training, ({ loss }) => loss);
  assert.ok(losses.at(-1)! < losses[0]);
  assert.match(await write(), /^ sells boats\./);
});

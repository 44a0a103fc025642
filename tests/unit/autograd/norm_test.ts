import assert from "node:assert/strict";
import { layerNorm, rmsNorm } from "../../../src/autograd/norm.ts";
import { ParameterSet } from "../../../src/autograd/parameter.ts";
import { Tape } from "../../../src/autograd/tape.ts";
import { mat } from "../../../src/device/buffer.ts";
import { readF32 } from "../../../src/device/device.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { inner, numericGradient } from "../../helpers/gradients.ts";
import { networkTest } from "../../helpers/network.ts";

const [ROWS, COLS, EPSILON] = [3, 7, 1e-3];

type Values = Record<"x" | "weight" | "bias", ArrayLike<number>>;

/** The norm by its definition, in f64. */
function plain({ x, weight, bias }: Values): Float64Array {
  const out = new Float64Array(ROWS * COLS);
  for (let i = 0; i < ROWS; i++) {
    const row = Array.from({ length: COLS }, (_, j) => x[i * COLS + j]);
    const mean = row.reduce((a, b) => a + b, 0) / COLS;
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / COLS;
    row.forEach((v, j) => {
      out[i * COLS + j] = (v - mean) / Math.sqrt(variance + EPSILON) *
          weight[j] + bias[j];
    });
  }
  return out;
}

for (
  const wanted of [
    ["x", "weight", "bias"],
    ["x"],
    ["bias"],
    ["weight"],
    [],
  ] as (keyof Values)[][]
) {
  networkTest(
    (device) =>
      `layerNorm() that trains ${
        wanted.join(", ") || "nothing"
      }: values and gradients by their definition, on ${device}`,
    async (device) => {
      const random = new Random(2);
      const values = {
        x: random.normals(ROWS * COLS),
        weight: random.normals(COLS),
        bias: random.normals(COLS),
      };
      const dy = random.normals(ROWS * COLS);
      const { bytes } = device.memory;
      {
        const trained = (["weight", "bias"] as const)
          .filter((name) => wanted.includes(name));
        using set = new ParameterSet(
          device,
          trained.map((name) => ({ name, rows: 1, cols: COLS, decay: false })),
        );
        for (const name of trained) set.set(name, values[name]);
        set.refresh();
        using tape = new Tape(device, { recording: true });
        const vector = (name: "weight" | "bias") =>
          trained.includes(name)
            ? { value: set.vector(name), parameter: set.get(name) }
            : { value: tape.upload(values[name]) };
        const x = tape.input(
          mat(tape.upload(values.x), ROWS, COLS),
          wanted.includes("x"),
        );
        // Twice, so that gradients have to be added up.
        for (let pass = 1; pass <= 2; pass++) {
          const out = layerNorm(tape, x, {
            weight: vector("weight"),
            bias: vector("bias"),
            epsilon: EPSILON,
          });
          assert.equal(out.needsGradient, wanted.length > 0);
          assertAllClose(
            await readF32(device, out.value.buffer, 0, ROWS * COLS),
            plain(values),
            { atol: 1e-5 },
          );
          if (wanted.length === 0) continue;
          tape.backward(out, mat(tape.upload(dy), ROWS, COLS));
          for (const name of wanted) {
            const expected = numericGradient(
              (at) => inner(plain({ ...values, [name]: at }), dy),
              values[name],
            );
            assertAllClose(
              name === "x"
                ? await readF32(
                  device,
                  tape.gradient(x)!.buffer,
                  0,
                  ROWS * COLS,
                )
                : await set.readGradient(name),
              expected.map((v) => pass * v),
              { atol: 3e-5, what: `gradient of ${name}, pass ${pass}` },
            );
          }
        }
        if (!wanted.includes("x")) assert.equal(tape.gradient(x), undefined);
      }
      assert.equal(device.memory.bytes, bytes);
    },
  );
}

networkTest(
  (device) =>
    `rmsNorm() with a weight as wide as a head: that of each head by itself, on ${device}`,
  async (device) => {
    const [rows, heads, width] = [3, 2, 5];
    const random = new Random(7);
    const values = random.normals(rows * heads * width);
    const dy = random.normals(rows * heads * width);
    const weights = random.normals(width);
    const run = async (rows: number, cols: number) => {
      const shape = { name: "weight", rows: 1, cols: width, decay: false };
      using set = new ParameterSet(device, [shape]);
      set.set("weight", weights);
      set.refresh();
      const weight = {
        value: set.vector("weight"),
        parameter: set.get("weight"),
      };
      using tape = new Tape(device, { recording: true });
      const x = tape.input(mat(tape.upload(values), rows, cols), true);
      // Twice, so that gradients have to be added up.
      const results: Float32Array[] = [];
      for (let pass = 0; pass < 2; pass++) {
        const out = rmsNorm(tape, x, { weight, epsilon: EPSILON });
        assert.deepEqual([out.value.rows, out.value.cols], [rows, cols]);
        results.push(await readF32(device, out.value.buffer));
        tape.backward(out, mat(tape.upload(dy), rows, cols));
      }
      results.push(await readF32(device, tape.gradient(x)!.buffer));
      return [...results, await set.readGradient("weight")];
    };
    const { bytes } = device.memory;
    assert.deepEqual(
      await run(rows, heads * width),
      await run(rows * heads, width),
    );
    assert.equal(device.memory.bytes, bytes);
  },
);

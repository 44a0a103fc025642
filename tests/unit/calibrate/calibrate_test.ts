import assert from "node:assert/strict";
import { assertAllClose } from "../../helpers/assert.ts";
import { loqa } from "../../helpers/cli.ts";
import { inFolder } from "../../helpers/model.ts";
import { mat } from "../../../src/device/buffer.ts";
import { readF32 } from "../../../src/device/device.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { Tape } from "../../../src/autograd/tape.ts";
import { calibrate, calibrationSequences } from "../../../src/calibrate/run.ts";
import { openMoments } from "../../../src/calibrate/moments.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { Llama } from "../../../src/models/decoder/model.ts";

const EXAMPLE = new URL("../../../examples/model", import.meta.url).pathname;
const TEXT = `${EXAMPLE}/sea-sample.txt`;

/** Inputs of every linear layer in one pass of the whole model, `[tokens][in]` row-major. */
async function inputsOf(
  sequences: readonly Int32Array[],
): Promise<Map<string, { data: Float32Array; cols: number }>> {
  using device = await openDevice("wasm", { threads: 1 });
  await using checkpoint = await openCheckpoint(EXAMPLE);
  using model = await Llama.load(device, checkpoint);
  using memory = new DisposableStack();
  const seen = new Map<string, { copy: ReturnType<typeof mat> }>();
  using tape = new Tape(device);
  model.forward(tape, {
    ids: sequences.flatMap((s) => [...s]),
    batch: sequences.length,
    time: sequences[0].length,
  }, {
    onInput(module, x) {
      const buffer = memory.use(device.alloc(x.rows * x.cols * 4));
      const copy = mat(buffer, x.rows, x.cols);
      device.ops.combine({ x, out: copy });
      seen.set(module, { copy });
    },
  });
  const found = new Map<string, { data: Float32Array; cols: number }>();
  for (const [module, { copy }] of seen) {
    found.set(module, {
      data: await readF32(device, copy.buffer),
      cols: copy.cols,
    });
  }
  return found;
}

Deno.test("calibrate: the moments of what every layer sees, diagonal and full", async () => {
  await inFolder(async (folder) => {
    using device = await openDevice("wasm", { threads: 1 });
    await using checkpoint = await openCheckpoint(EXAMPLE);
    const sequences = await calibrationSequences(checkpoint, [TEXT], {
      tokens: 200,
      block: 50,
    });
    assert.deepEqual(sequences.map((s) => s.length), [50, 50, 50, 50]);
    const inputs = await inputsOf(sequences);
    assert.equal(inputs.size, 4 * 7);
    for (const kind of ["diag", "full"] as const) {
      const path = `${folder}/${kind}.safetensors`;
      await calibrate(checkpoint, { device, sequences, kind, path });
      await using moments = await openMoments(path, kind);
      for (const [module, { data, cols }] of inputs) {
        const metric = await moments.metricOf(module);
        assert.ok(metric.kind === kind);
        const rows = data.length / cols;
        const expected = new Float64Array(metric.moments.length);
        for (let t = 0; t < rows; t++) {
          for (let i = 0; i < cols; i++) {
            const x = data[t * cols + i];
            if (kind === "diag") expected[i] += x * x / rows;
            else {
              for (let j = 0; j < cols; j++) {
                expected[i * cols + j] += x * data[t * cols + j] / rows;
              }
            }
          }
        }
        const size = Math.max(...expected.map(Math.abs));
        // The blocks ran in the same way, but for batches of other sizes.
        assertAllClose(metric.moments, expected, {
          atol: 1e-5 * size,
          what: `${kind} ${module}`,
        });
      }
    }
  });
});

Deno.test("calibrate: a whole file of the same text serves again, of another not", async () => {
  await inFolder(async (folder) => {
    using device = await openDevice("wasm", { threads: 1 });
    await using checkpoint = await openCheckpoint(EXAMPLE);
    const path = `${folder}/m.safetensors`;
    const gather = async (tokens: number): Promise<boolean> => {
      let layers = 0;
      await calibrate(checkpoint, {
        device,
        kind: "diag",
        path,
        sequences: await calibrationSequences(checkpoint, [TEXT], {
          tokens,
          block: 20,
        }),
        onProgress: () => layers++,
      });
      return layers > 0;
    };
    assert.equal(await gather(40), true);
    assert.equal(await gather(40), false);
    assert.equal(await gather(60), true);
  });
});

Deno.test("calibrate: too little text, sequences of several lengths, beyond the context", async () => {
  using device = await openDevice("wasm", { threads: 1 });
  await using checkpoint = await openCheckpoint(EXAMPLE);
  await inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/short.txt`, "Few words.");
    await assert.rejects(
      calibrationSequences(checkpoint, [`${folder}/short.txt`], {
        tokens: 1000,
        block: 64,
      }),
      /wanted at least 64 tokens, .*short.txt gave \d+$/,
    );
    for (const lengths of [[], [3, 4], [513, 513]]) {
      await assert.rejects(
        calibrate(checkpoint, {
          device,
          kind: "diag",
          path: `${folder}/m.safetensors`,
          sequences: lengths.map((n) => new Int32Array(n)),
        }),
        /wanted sequences of one length from 1 to 512, got/,
      );
    }
  });
});

Deno.test("loqa init --metric full --calib: a smaller error of the outputs, and no moments left behind", async () => {
  await inFolder(async (folder) => {
    const out = `${folder}/out`;
    const run = async (...more: string[]) => {
      const { code, stdout, stderr } = await loqa(
        ...["init", EXAMPLE, "-o", out, "--format", "nf2", "--json", "-q"],
        ...["--device", "wasm", "--iters", "1"],
        ...more,
      );
      assert.deepEqual([code, stderr], [0, ""]);
      return JSON.parse(stdout).layers as {
        outputError?: number;
        plainOutputError?: number;
      }[];
    };
    const layers = await run("--metric", "full", "--calib", TEXT);
    assert.equal(layers.length, 28);
    for (const { outputError, plainOutputError } of layers) {
      assert.ok(outputError! < plainOutputError!);
    }
    const entries = await Array.fromAsync(Deno.readDir(folder));
    assert.deepEqual(entries.map(({ name }) => name), ["out"]);
  });
});

import assert from "node:assert/strict";
import type { Device } from "../../src/device/device.ts";
import { openDevice } from "../../src/backend/open.ts";
import { choose } from "../../src/backend/choose.ts";
import { openInstead } from "../../src/backend/fallback.ts";
import type { InitOptions, RunOptions } from "../../src/init/options.ts";
import { init, type InitReport } from "../../src/init/run.ts";
import { loftq, type LoftqOptions } from "../../src/api/loftq.ts";
import { Random } from "../../src/tensor/random.ts";
import { assertAllClose } from "../helpers/assert.ts";
import { outcome, spawnLoqa } from "../helpers/cli.ts";
import { faultyGpu, gpuTest, HARDWARE } from "../helpers/gpu.ts";
import {
  afterReads,
  type FaultName,
  FAULTS,
  IN_THE_MIDDLE,
  nth,
  type Strike,
} from "../helpers/gpu_faults.ts";
import { replaced } from "../helpers/globals.ts";
import { normalMatrix } from "../helpers/inputs.ts";
import {
  inFolder,
  openModel,
  readTree,
  tinyLlama,
  writeModel,
} from "../helpers/model.ts";

const CASES = Object.entries(IN_THE_MIDDLE) as [
  keyof typeof IN_THE_MIDDLE,
  typeof IN_THE_MIDDLE[keyof typeof IN_THE_MIDDLE],
][];

/** Name of the error that a fault ends in. */
const errorOf = (fault: FaultName) =>
  fault.startsWith("lost") ? "DeviceLostError" : "DeviceFaultError";

const MODEL = tinyLlama({ hidden: 48, inner: 80 });
const OPTIONS: InitOptions = {
  method: "loftq",
  format: "nf4",
  rank: 4,
  alpha: 8,
  iterations: 2,
  seed: 0,
};

async function run(
  out: string,
  options: Omit<RunOptions, "out">,
): Promise<InitReport> {
  await using checkpoint = await openModel(MODEL);
  return await init(checkpoint, OPTIONS, { out, ...options });
}

async function onWasm(): Promise<InitReport> {
  using device = await openDevice("wasm", { threads: 1 });
  let report: InitReport;
  await inFolder(async (folder) => {
    report = await run(`${folder}/out`, { device });
  });
  return report!;
}

const wanted = await onWasm();

/** The same layers as a run that nothing happened to, with the same errors but for rounding. */
function assertWhole({ layers }: InitReport): void {
  assert.deepEqual(
    layers.map(({ name, rows, cols, format, rank }) => [
      ...[name, rows, cols, format, rank],
    ]),
    wanted.layers.map(({ name, rows, cols, format, rank }) => [
      ...[name, rows, cols, format, rank],
    ]),
  );
  for (const key of ["plainError", "error"] as const) {
    assertAllClose(
      layers.map((l) => l[key]),
      wanted.layers.map((l) => l[key]),
      { rtol: 0.005, what: key },
    );
  }
}

/** A whole device with a fault. */
async function openWith(fault: FaultName, strikes: Strike): Promise<Device> {
  return await openDevice("webgpu", {
    gpu: faultyGpu({ device: (device) => FAULTS[fault](device, strikes) }),
  });
}

for (const [fault, { strikes, line }] of CASES) {
  gpuTest(
    `init(), ${fault} in the middle: the fallback does that layer again and the rest`,
    () =>
      inFolder(async (folder) => {
        using device = await openWith(fault, strikes());
        using memory = new DisposableStack();
        const lines: string[] = [];
        let at = "";
        let struck = "";
        const report = await run(`${folder}/out`, {
          device,
          onProgress: (_, text) => at = text,
          async fallback(failure) {
            struck = at;
            return memory.use(
              await openInstead(failure, {
                threads: 1,
                onWarning: (text) => lines.push(text),
              }),
            );
          },
        });
        assert.equal(lines.length, 1);
        assert.match(lines[0], line);
        assert.match(lines[0], /; using wasm \([^\n]*\)$/);
        assert.match(struck, /^\d+\/14 /);
        if (fault !== "shader") assert.notEqual(struck.slice(0, 2), "1/");
        assertWhole(report);
        assert.deepEqual([...(await readTree(`${folder}/out`)).keys()], [
          "adapter/adapter_config.json",
          "adapter/adapter_model.safetensors",
          "backbone/config.json",
          "backbone/model.safetensors",
          "backbone/tokenizer.json",
          "loqa.json",
        ]);
      }),
  );

  gpuTest(
    `init(), ${fault} in the middle, without a fallback: the caller gets the error`,
    () =>
      inFolder(async (folder) => {
        using device = await openWith(fault, strikes());
        await assert.rejects(run(`${folder}/out`, { device }), {
          name: errorOf(fault),
        });
        assert.equal(device.memory.bytes, 0);
        await assert.rejects(Deno.lstat(`${folder}/out`), Deno.errors.NotFound);
      }),
  );

  gpuTest(
    `loqa init --device webgpu, ${fault} in the middle: one line, exit code 0`,
    () =>
      inFolder(async (folder) => {
        await writeModel(`${folder}/model`, MODEL);
        const child = spawnLoqa(
          [
            ...[fault, "init", `${folder}/model`],
            ...["-o", `${folder}/out`, "--device", "webgpu", "--json"],
            ...["--rank", "4", "--alpha", "8", "--iters", "2", "--quiet"],
          ],
          { main: "tests/faults/webgpu_main.ts" },
        );
        const { code, stdout, stderr } = await outcome(child);
        assert.equal(code, 0, stderr);
        assert.match(stderr, /^[^\n]+; using wasm \([^\n]*\)\n$/);
        assert.match(stderr, line);
        assertWhole(JSON.parse(stdout));
      }),
  );
}

gpuTest(
  "a fallback that fails as well ends the run",
  () =>
    inFolder(async (folder) => {
      using device = await openWith("lost", afterReads(20));
      using other = await openWith("lost", nth(1));
      let asked = 0;
      await assert.rejects(
        run(`${folder}/out`, {
          device,
          fallback: () => Promise.resolve((asked++, other)),
        }),
        { name: "DeviceLostError" },
      );
      assert.equal(asked, 1);
    }),
);

gpuTest(
  "an error that is not the GPU's calls no fallback",
  () =>
    inFolder(async (folder) => {
      using device = await openDevice("webgpu");
      await using checkpoint = await openModel({
        tensors: {
          "model.layers.0.self_attn.q_proj.weight": {
            shape: [2, 2],
            values: Float32Array.of(1, 2, NaN, 4),
          },
        },
      });
      await assert.rejects(
        init(checkpoint, { ...OPTIONS, rank: 2 }, {
          device,
          out: `${folder}/out`,
          fallback: () => assert.fail("asked for another device"),
        }),
        { name: "RangeError", message: /got NaN at row 1, column 0$/ },
      );
    }),
);

const WEIGHT = normalMatrix(new Random(3), 64, 96);
const LOFTQ: LoftqOptions = { format: "nf4", rank: 8, iterations: 2 };

for (const fault of ["lost", "memory"] as const) {
  gpuTest(
    `loftq() on a device that was given, ${fault}: the caller gets the error`,
    async () => {
      using device = await openWith(fault, nth(5));
      await assert.rejects(
        loftq(WEIGHT, { ...LOFTQ, device }),
        { name: errorOf(fault) },
      );
      assert.equal(device.memory.bytes, 0);
    },
  );

  gpuTest(
    `loftq() on a device of its own, ${fault}: it is done again on the CPU`,
    async () => {
      const lines: string[] = [];
      const run = () =>
        loftq(WEIGHT, { ...LOFTQ, onWarning: (text) => lines.push(text) });
      const gpu = faultyGpu({
        info: HARDWARE,
        device: (device) => FAULTS[fault](device, afterReads(2)),
      });
      // The contest is won by a stand-in: a GPU in software need not be faster than anything.
      const won = await choose({
        gpu,
        openGpu: () => openDevice("wasm"),
        openCpu: () => openDevice("reference"),
      });
      won.device[Symbol.dispose]();
      using _none = replaced(globalThis, "WebAssembly");
      using _faulty = replaced(navigator, "gpu", gpu);
      const { error, plainError } = await run();
      assert.ok(error < plainError);
      const failures = () =>
        lines.filter((line) => line.startsWith("Test GPU 9000"));
      assert.equal(failures().length, 1, lines.join("\n"));
      assert.match(failures()[0], IN_THE_MIDDLE[fault].line);
      assert.match(failures()[0], /; using reference/);
      // One that was lost is not asked again; one that lacked memory may do for another weight.
      await run();
      assert.equal(failures().length, fault === "lost" ? 1 : 2);
    },
  );
}

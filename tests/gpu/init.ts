/**
 * LoftQ of a whole model on WebGPU beside the same on WASM.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { DeviceName } from "../../src/device/device.ts";
import { openDevice } from "../../src/backend/open.ts";
import type { InitOptions } from "../../src/init/options.ts";
import { init, type InitReport } from "../../src/init/run.ts";
import { openCheckpoint } from "../../src/io/open.ts";
import { assertBytes } from "../helpers/assert.ts";
import { NO_GPU, onAdapter } from "../helpers/gpu.ts";
import { exists } from "../helpers/inputs.ts";
import { inFolder } from "../helpers/model.ts";

const OPTIONS: InitOptions = {
  method: "loftq",
  format: "nf4",
  rank: 16,
  alpha: 16,
  iterations: 5,
  seed: 0,
};

interface Result {
  readonly report: InitReport;
  /** The file of the quantised weights. */
  readonly backbone: Uint8Array<ArrayBuffer>;
}

async function run(
  path: string,
  name: DeviceName,
  options: Partial<InitOptions>,
): Promise<Result> {
  using device = await openDevice(name, { threads: 2 });
  await using checkpoint = await openCheckpoint(path);
  let result: Result;
  await inFolder(async (folder) => {
    const out = `${folder}/out`;
    const report = await init(checkpoint, { ...OPTIONS, ...options }, {
      device,
      out,
    });
    const file = `${out}/backbone/model.safetensors`;
    result = { report, backbone: await Deno.readFile(file) };
  });
  return result!;
}

/** Registers the tests of the model at `path`, named `model` in errors and titles. */
export function testInit(model: string, path: string): void {
  const there = exists(path) || exists(`${path}/model.safetensors`);
  const options = { ignore: !there || NO_GPU };
  const name = (what: string) =>
    onAdapter(`${what} of ${model}${there ? "" : " (not here)"}`);

  Deno.test({
    ...options,
    name: name("init: every layer's error within 0.5 % of wasm's"),
    async fn(t) {
      const { report: cpu } = await run(path, "wasm", {});
      const { report: gpu } = await run(path, "webgpu", {});
      assert.equal(gpu.layers.length, cpu.layers.length);
      let most = 0;
      for (const [i, layer] of gpu.layers.entries()) {
        const { name, error, plainError } = cpu.layers[i];
        assert.equal(layer.name, name);
        assert.ok(layer.error < layer.plainError, name);
        for (
          const [got, wanted] of [
            [layer.error, error],
            [layer.plainError, plainError],
          ]
        ) {
          const off = Math.abs(got / wanted - 1);
          assert.ok(off <= 0.005, `${name}: ${got} against ${wanted}`);
          most = Math.max(most, off);
        }
      }
      const seconds = (r: InitReport) => r.summary.seconds.toFixed(1);
      await t.step(
        `${gpu.layers.length} layers, at most ${
          (100 * most).toPrecision(2)
        } % apart, ${seconds(gpu)} s against ${seconds(cpu)} s`,
        () => {},
      );
    },
  });

  Deno.test({
    ...options,
    name: name("init with T 0: the bytes of wasm's backbone"),
    async fn() {
      for (const format of ["nf4", "int3"] as const) {
        const quick = { iterations: 0, format };
        const cpu = await run(path, "wasm", quick);
        const gpu = await run(path, "webgpu", quick);
        assert.equal(gpu.report.base, cpu.report.base);
        assertBytes(gpu.backbone, cpu.backbone, format);
      }
    },
  });
}

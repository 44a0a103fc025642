/**
 * The page that runs the conformance table in a browser and sends the outcome to where it came from.
 *
 * @module
 */

import type { PartialDevice } from "../../src/device/device.ts";
import { openWebGpuDevice } from "../../gpu/device.ts";
import { networkTable } from "../conformance/network_cases.ts";
import { TABLE } from "../conformance/table.ts";
import { failuresOf } from "../helpers/conformance.ts";
import { allGemmKernels, compileErrors } from "../helpers/gemm_kernels.ts";
import type { Outcome } from "./outcome.ts";

/** `navigator.gpu` whose adapter says that it is hardware, so that the kernels for hardware run. */
function asHardware(): GPU {
  const gpu: Pick<GPU, "requestAdapter" | "wgslLanguageFeatures"> = {
    wgslLanguageFeatures: navigator.gpu.wgslLanguageFeatures,
    async requestAdapter(options) {
      const adapter = await navigator.gpu.requestAdapter(options);
      return adapter && {
        info: { description: "in place of hardware" },
        limits: adapter.limits,
        features: adapter.features,
        requestDevice: (how: GPUDeviceDescriptor) => adapter.requestDevice(how),
      } as unknown as GPUAdapter;
    },
  };
  return gpu as GPU;
}

async function tell(path: string, body: string): Promise<void> {
  await (await fetch(path, { method: "POST", body })).text();
}

/** Rows between two words to the test: SwiftShader takes about a second to compile a kernel. */
const CHUNK = 20;

/** Runs the rows of `ops`, or of each the first of every so many. */
async function conform(
  device: PartialDevice,
  { ops, every = 1 }: { ops: readonly string[]; every?: number },
): Promise<Outcome["tables"][number]> {
  const failures: string[] = [];
  let count = 0;
  for (const op of ops) {
    const rows = [...TABLE, ...networkTable()].filter((row) => row.op === op)
      .filter((_, i) => i % every === 0);
    for (let at = 0; at < rows.length; at += CHUNK) {
      await tell("/doing", `${op} from ${at} on ${device.description}`);
      failures.push(...await failuresOf(device, rows.slice(at, at + CHUNK)));
    }
    count += rows.length;
  }
  return { device: device.description, rows: count, failures };
}

/** Compiles the kernels of products with the largest tile, for which the table has no product. */
async function compileAll(
  device: GPUDevice,
): Promise<Outcome["tables"][number]> {
  const kernels = allGemmKernels().filter(({ name }) =>
    name.includes("of 8x8") && !name.includes("addend")
  );
  const failures: string[] = [];
  for (const kernel of kernels) {
    await tell("/doing", kernel.name);
    failures.push(...await compileErrors(device, [kernel]));
  }
  return { device: "the largest tile", rows: kernels.length, failures };
}

async function run(): Promise<Outcome> {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) return { adapter: null, tables: [] };
  const { vendor, architecture } = adapter.info;
  const tables: Outcome["tables"] = [];
  {
    using device = await openWebGpuDevice();
    tables.push(await conform(device, { ops: Object.keys(device.ops) }));
  }
  {
    // Products have kernels of their own for hardware; the others are the same.
    using device = await openWebGpuDevice({ gpu: asHardware() });
    const ops = ["gemm", "gemmQuantized", "gemmInt8"];
    tables.push(await conform(device, { ops, every: 3 }));
    tables.push(await compileAll(device.context.device));
  }
  return { adapter: `${vendor} ${architecture}`, tables };
}

const outcome = await run().catch((error): Outcome => ({
  adapter: "unknown",
  tables: [],
  error: String(error instanceof Error ? error.stack : error),
}));
await tell("/outcome", JSON.stringify(outcome));

/**
 * Operations of the WebGPU device that the CPU does, in their place in the order of the work.
 *
 * @module
 */

import type { GpuContext } from "./context.ts";
import type { Mat } from "../src/device/buffer.ts";
import type { Operations } from "../src/device/operations.ts";
import type { PartialDevice } from "../src/device/device.ts";
import { mat } from "../src/device/buffer.ts";
import { readF32 } from "../src/device/device.ts";
import type { WebGpuMemory } from "./buffers.ts";

/** One device of each context, opened at first need. One thread: there are no workers that would have to be ended. */
const DEVICES = new WeakMap<GpuContext, Promise<PartialDevice>>();

function open(context: GpuContext): Promise<PartialDevice> {
  let found = DEVICES.get(context);
  if (!found) {
    found = import("../wasm/device.ts")
      .then(({ openWasmDevice }) => openWasmDevice({ threads: 1 }))
      .catch(async () =>
        (await import("../src/device/reference/device.ts"))
          .openReferenceDevice()
      );
    DEVICES.set(context, found);
  }
  return found;
}

/** An operation's matrices, which of them it reads and which it writes, and the call. */
export interface CpuWork<Args extends Readonly<Record<string, Mat>>> {
  readonly args: Args;
  readonly reads: readonly (keyof Args)[];
  readonly writes: readonly (keyof Args)[];
  /** Gets the matrices on the CPU's device, without gaps between their rows. */
  run(ops: Operations, args: Args): void;
}

/** Does `work` on the CPU after all before it: one wait, and what comes after it waits in line. */
export function onCpu<Args extends Readonly<Record<string, Mat>>>(
  memory: WebGpuMemory,
  work: CpuWork<Args>,
): void {
  memory.enqueue(cpuWork(memory, work));
}

/** A function that does `work` on the CPU when its turn comes, for {@linkcode WebGpuMemory.enqueue}. */
export function cpuWork<Args extends Readonly<Record<string, Mat>>>(
  memory: WebGpuMemory,
  { args, reads, writes, run }: CpuWork<Args>,
): () => Promise<void> {
  const { context } = memory;
  const names: (keyof Args)[] = Object.keys(args);
  const places = new Map(
    names.map((name) => [name, memory.gpu(args[name].buffer)]),
  );
  return async () => {
    const [device, ...values] = await Promise.all([
      open(context),
      ...reads.map((name) => readRows(context, places.get(name)!, args[name])),
    ]);
    using room = new DisposableStack();
    const on = Object.fromEntries(names.map((name) => {
      const { rows, cols } = args[name];
      return [name, mat(room.use(device.alloc(rows * cols * 4)), rows, cols)];
    })) as unknown as Args;
    reads.forEach((name, i) => device.write(on[name].buffer, values[i]));
    run(device.ops as Operations, on);
    for (const name of writes) {
      const result = await readF32(device, on[name].buffer);
      writeRows(context, places.get(name)!, { x: args[name], values: result });
    }
  };
}

/** The values of `x`, row after row. */
async function readRows(
  context: GpuContext,
  from: GPUBuffer,
  { rows, cols, offset, stride }: Mat,
): Promise<Float32Array> {
  if (rows === 0 || cols === 0) return new Float32Array(0);
  const extent = (rows - 1) * stride + cols;
  const bytes = await context.read(from, offset * 4, extent * 4);
  const all = new Float32Array(bytes.buffer);
  if (stride === cols) return all;
  const out = new Float32Array(rows * cols);
  for (let i = 0; i < rows; i++) {
    out.set(all.subarray(i * stride, i * stride + cols), i * cols);
  }
  return out;
}

/** Writes `values`, row after row, into `x`, and leaves alone what lies between its rows. */
function writeRows(
  context: GpuContext,
  to: GPUBuffer,
  { x: { rows, cols, offset, stride }, values }: {
    x: Mat;
    values: Float32Array<ArrayBuffer>;
  },
): void {
  const bytes = new Uint8Array(values.buffer);
  if (stride === cols) {
    context.write(to, offset * 4, bytes);
    return;
  }
  const buffer = context.take(Math.max(bytes.length, 4));
  context.write(buffer, 0, bytes);
  for (let i = 0; i < rows; i++) {
    context.copy(buffer, to, {
      at: i * cols * 4,
      toAt: (offset + i * stride) * 4,
      bytes: cols * 4,
    });
  }
  context.release(buffer);
}

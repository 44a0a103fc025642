/**
 * Ways in which a GPU fails, each put into a device that works.
 *
 * @module
 */

const MAP_READ = 1;

/** True if the fault is to strike now; called at each use of the device that it concerns. It strikes once. */
export type Strike = (device: GPUDevice) => boolean;

/** The `count`-th time. */
export function nth(count: number): Strike {
  let times = 0;
  return () => ++times === count;
}

/** The first time after `count` results were waited for. */
export function afterReads(count: number): Strike {
  let reads: { count: number } | undefined;
  let struck = false;
  return (device) => {
    reads ??= countReads(device);
    if (struck || reads.count < count) return false;
    return struck = true;
  };
}

function countReads(device: GPUDevice): { count: number } {
  const reads = { count: 0 };
  const { createBuffer } = device;
  device.createBuffer = (descriptor) => {
    if (descriptor.usage & MAP_READ) reads.count++;
    return createBuffer.call(device, descriptor);
  };
  return reads;
}

/** Faults by name. */
export const FAULTS = {
  /** The device is gone when work is sent to it. */
  lost(device: GPUDevice, strikes: Strike): void {
    const { queue } = device;
    const { submit } = queue;
    queue.submit = (buffers) => {
      if (strikes(device)) device.destroy();
      submit.call(queue, buffers);
    };
  },

  /** The device goes while someone waits for a result. */
  lostWhileReading(device: GPUDevice, strikes: Strike): void {
    const { createBuffer } = device;
    device.createBuffer = (descriptor) => {
      const buffer = createBuffer.call(device, descriptor);
      if (descriptor.usage & MAP_READ && strikes(device)) {
        const { mapAsync } = buffer;
        buffer.mapAsync = (...args) => {
          const mapped = mapAsync.apply(buffer, args);
          device.destroy();
          return mapped;
        };
      }
      return buffer;
    };
  },

  /** There is no memory for a buffer: WebGPU gives a useless one, and reports it afterwards. */
  memory(device: GPUDevice, strikes: Strike): void {
    const { createBuffer, popErrorScope } = device;
    device.createBuffer = (descriptor) => {
      // Not one to read from: a failure in the middle of a read has another error.
      if (descriptor.usage & MAP_READ || !strikes(device)) {
        return createBuffer.call(device, descriptor);
      }
      const { size } = descriptor;
      const huge = { ...descriptor, size: 2 ** 50 };
      const buffer = createBuffer.call(device, huge);
      return Object.defineProperty(buffer, "size", { value: size });
    };
    device.popErrorScope = async () => {
      const error = await popErrorScope.call(device);
      return error?.message.startsWith("Buffer size")
        ? new GPUOutOfMemoryError("Not enough memory left")
        : error;
    };
  },

  /** The driver does not compile a shader. */
  shader(device: GPUDevice, strikes: Strike): void {
    const { createShaderModule } = device;
    device.createShaderModule = (descriptor) =>
      createShaderModule.call(
        device,
        strikes(device)
          ? { ...descriptor, code: `${descriptor.code}\nfn broken( {` }
          : descriptor,
      );
  },

  /** Bytes that are written arrive as zeros. */
  zeros(device: GPUDevice, strikes: Strike): void {
    const { queue } = device;
    const { writeBuffer } = queue;
    queue.writeBuffer = (
      buffer: GPUBuffer,
      at: number,
      data: AllowSharedBufferSource,
      ...range: number[]
    ) =>
      writeBuffer.call(
        queue,
        buffer,
        at,
        data instanceof Uint8Array && strikes(device)
          ? new Uint8Array(data.length)
          : data,
        ...range,
      );
  },
} as const;

/** Name of a fault. */
export type FaultName = keyof typeof FAULTS;

/** Faults that strike in the middle of a run over a dozen layers, and the message of each. */
export const IN_THE_MIDDLE = {
  lost: { strikes: () => afterReads(40), line: /^[^\n]* was lost: [^\n]+/ },
  lostWhileReading: {
    strikes: () => afterReads(40),
    line: /^[^\n]* was lost: [^\n]+/,
  },
  memory: {
    strikes: () => afterReads(40),
    line: /^[^\n]*, a buffer of [^:\n]*: Not enough memory left/,
  },
  // A kernel is compiled once: in the first layers.
  shader: {
    strikes: () => nth(4),
    line: /^[^\n]*, the kernel [^:\n]+: [^\n]*broken/,
  },
} as const;

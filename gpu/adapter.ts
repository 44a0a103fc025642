/**
 * The adapter: facts of the GPU, if there is one, and a device with its limits.
 *
 * @module
 */

import { DeviceAbsentError, DeviceFaultError } from "../src/device/errors.ts";

/** Limits that kernels profit from; the defaults of WebGPU are the least that any device has. */
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupStorageSize",
  "maxStorageBuffersPerShaderStage",
] as const;

/** Name of a requested limit. */
export type LimitName = typeof LIMITS[number];

/** Limits of a device. */
export type Limits = Readonly<Record<LimitName, number>>;

/** WGSL's name of dot products of four bytes in a word. */
const PACKED_DOTS = "packed_4x8_integer_dot_product";

/** Options of opening an adapter. */
export interface AdapterOptions {
  /** Lower limits than the adapter's, for tests. WebGPU grants its defaults at least; kernels keep to these. */
  readonly limits?: Partial<Limits>;
  /** Entry to WebGPU; `navigator.gpu` without it. */
  readonly gpu?: GPU | null;
}

/** Facts of an adapter. */
export interface AdapterFacts {
  /** A name for a person: "llvmpipe (LLVM 15.0.6, 256 bits)". */
  readonly description: string;
  /** True for a software adapter: a CPU does the work. */
  readonly software: boolean;
  /** True if shaders have dot products of four bytes in a word. */
  readonly packedDots: boolean;
}

/** An adapter that may give a device. */
export interface FoundAdapter extends AdapterFacts {
  readonly adapter: GPUAdapter;
}

/** An open device and the facts of its adapter. */
export interface OpenedAdapter extends AdapterFacts {
  readonly device: GPUDevice;
  readonly limits: Limits;
}

/** WGSL language features of the platform; types of other versions of the library do not have them. */
function languageFeatures(gpu: GPU): ReadonlySet<string> | undefined {
  return (gpu as { wgslLanguageFeatures?: ReadonlySet<string> })
    .wgslLanguageFeatures;
}

/**
 * Finds the best adapter.
 *
 * @throws {DeviceAbsentError} If there is no WebGPU or no adapter.
 * @throws {DeviceFaultError} If asking for one fails.
 */
export async function findAdapter(
  { gpu = globalThis.navigator?.gpu }: AdapterOptions = {},
): Promise<FoundAdapter> {
  if (!gpu) throw new DeviceAbsentError("this platform has no WebGPU");
  let adapter: GPUAdapter | null;
  try {
    adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  } catch (error) {
    throw new DeviceFaultError(`WebGPU gave no adapter: ${messageOf(error)}`);
  }
  if (!adapter) {
    throw new DeviceAbsentError(
      "WebGPU has no adapter here (no GPU, or no driver for it)",
    );
  }
  const { info } = adapter;
  const description = info?.description || info?.device || "unnamed adapter";
  return {
    adapter,
    description,
    software: isSoftware(adapter, description),
    packedDots: languageFeatures(gpu)?.has(PACKED_DOTS) ?? false,
  };
}

/**
 * Opens the best adapter.
 *
 * @throws {DeviceAbsentError} If there is no WebGPU or no adapter.
 * @throws {DeviceFaultError} If the adapter gives no device; the message says why.
 */
export async function openGpuAdapter(
  options: AdapterOptions = {},
): Promise<OpenedAdapter> {
  const { limits = {} } = options;
  const { adapter, ...facts } = await findAdapter(options);
  const granted = Object.fromEntries(LIMITS.map((name) => {
    // In some releases of Deno a limit is a bigint.
    const has = Number(adapter.limits[name]);
    return [name, Math.min(has, limits[name] ?? has)];
  })) as Limits;
  const features = ["shader-f16", "subgroups"].filter((name) =>
    adapter.features.has(name as GPUFeatureName)
  ) as GPUFeatureName[];
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({
      label: "loqa",
      requiredLimits: granted,
      requiredFeatures: features,
    });
  } catch (error) {
    throw new DeviceFaultError(
      `${facts.description} gave no device: ${messageOf(error)}`,
    );
  }
  return { device, limits: granted, ...facts };
}

/** Mesa and SwiftShader, and whatever says so itself. */
function isSoftware(adapter: GPUAdapter, description: string): boolean {
  const info = adapter.info as GPUAdapterInfo & { isFallbackAdapter?: boolean };
  return info?.isFallbackAdapter === true ||
    /llvmpipe|lavapipe|swiftshader|software|basic render/i.test(
      `${description} ${info?.architecture ?? ""}`,
    );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Choice of `auto` between GPU and CPU: the GPU must be a real one, compute correctly, and win.
 *
 * Loaded only where there is WebGPU; the device itself only where there is an adapter in hardware.
 *
 * @module
 */

import { findAdapter } from "../../gpu/adapter.ts";
import type { Device } from "../device/device.ts";
import { DeviceAbsentError, DeviceLacksError } from "../device/errors.ts";
import { compareDevices } from "./contest.ts";

/** A device, and notes on its choice. */
export interface Choice {
  readonly device: Device;
  /** One line about the GPU. */
  readonly why: string;
  /** True if the GPU is there and does not work. */
  readonly broken: boolean;
}

interface Verdict {
  readonly takes: boolean;
  readonly why: string;
  readonly broken: boolean;
}

/** A contest is held once for each GPU in the life of a process. */
const VERDICTS = new WeakMap<GPU, Verdict>();

/** The two devices between which to choose. */
export interface Candidates {
  /** Entry to WebGPU. */
  readonly gpu: GPU;
  openGpu(): Promise<Device>;
  openCpu(): Promise<Device>;
}

/** Opens the GPU or the CPU. It fails only if the CPU does. */
export async function choose(candidates: Candidates): Promise<Choice> {
  const { gpu, openGpu, openCpu } = candidates;
  const known = VERDICTS.get(gpu);
  if (known?.takes === false) {
    // Said once as a warning, where it was one.
    return { device: await openCpu(), why: known.why, broken: false };
  }
  let device: Device | undefined;
  let cpu: Device | undefined;
  let verdict: Verdict;
  try {
    const { software, description } = await findAdapter({ gpu });
    if (software) verdict = refuse(`${description} is software`);
    else {
      device = await openGpu();
      verdict = known ?? await judge(device, cpu = await openCpu());
    }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    if (error instanceof DeviceLacksError) {
      // Other work may not miss what this work does.
      return { device: await openCpu(), why, broken: false };
    }
    verdict = refuse(why, !(error instanceof DeviceAbsentError));
  }
  VERDICTS.set(gpu, verdict);
  if (verdict.takes) {
    cpu?.[Symbol.dispose]();
    return { device: device!, ...verdict };
  }
  device?.[Symbol.dispose]();
  return { device: cpu ?? await openCpu(), ...verdict };
}

/** Lets `auto` pass over a GPU from now on. */
export function distrust(gpu: GPU, why: string): void {
  VERDICTS.set(gpu, refuse(why));
}

function refuse(why: string, broken = false): Verdict {
  return { takes: false, why, broken };
}

async function judge(device: Device, cpu: Device): Promise<Verdict> {
  const { wrong, gpuFlops, cpuFlops } = await compareDevices(device, cpu);
  if (wrong) return refuse(`${device.description} is not used: ${wrong}`, true);
  const figures = `${giga(gpuFlops)} GFLOP/s in matrix products, ${cpu.name} ${
    giga(cpuFlops)
  }`;
  return gpuFlops > cpuFlops
    ? { takes: true, why: figures, broken: false }
    : refuse(`${device.description} is slower: ${figures}`);
}

function giga(flops: number): string {
  return (flops / 1e9).toPrecision(2);
}

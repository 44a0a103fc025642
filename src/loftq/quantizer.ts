/**
 * Quantisers of weights of one shape on a device: those of LoftQ's backbone, and one that keeps a base.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import type { DeviceBuffer, Mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";
import { format } from "../quant/formats.ts";
import {
  allocQuant,
  downloadStored,
  type OwnedQuantMat,
  roundScales,
  upload,
} from "../quant/quantize.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import { channelWeights } from "./metric.ts";
import type { LoftqSettings } from "./options.ts";

/** Quantises weights of one shape on a device. */
export interface Quantizer extends Disposable {
  /** Memory for one quantised weight. */
  alloc(): OwnedQuantMat;
  /** Quantises `w: [out, in]` into `q`; without a promise where there is nothing to wait for. */
  run(w: Mat, q: OwnedQuantMat): void | Promise<void>;
  /** Copies `q` from the device, and checks that its scales can be stored. */
  download(q: OwnedQuantMat): Promise<QuantizedMatrix>;
}

/** A quantiser that keeps `base`, whatever the weight. */
export function keepBase(device: Device, base: QuantizedMatrix): Quantizer {
  return {
    alloc: () => upload(device, base),
    run() {},
    download: () => Promise.resolve(base),
    [Symbol.dispose]() {},
  };
}

/** Shape of a weight. */
interface Shape {
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
}

/** The quantiser that the settings of LoftQ ask for, its scales as the file will have them. */
export function loftqQuantizer(
  device: Device,
  shape: Shape,
  settings: LoftqSettings,
): Quantizer {
  const { base, stored } = settings;
  const quantizer = base
    ? keepBase(device, base)
    : byFormat(device, shape, settings);
  return stored?.scales
    ? withStoredScales(device, quantizer, stored.scales)
    : quantizer;
}

function byFormat(
  device: Device,
  { rows, cols }: Shape,
  options: LoftqSettings,
): Quantizer {
  const { block, metric, name = "the weight" } = options;
  const spec = format(options.format!);
  const { scale = spec.defaultScale, scaleDType = "f32" } = options;
  const channels = scale === "mse" && metric
    ? channelWeights(metric, cols)
    : undefined;
  const memory = new DisposableStack();
  let by: DeviceBuffer | undefined;
  if (channels) {
    by = memory.use(device.alloc(channels.byteLength));
    device.write(by, channels);
  }
  return {
    alloc: () => allocQuant(device, spec, { rows, cols, block }),
    run(w, q) {
      device.ops.quantize({ w, q, scale, weight: by });
      if (scaleDType === "f16") roundScales(device, q);
    },
    download: (q) => downloadStored(device, q, { scaleDType, name }),
    [Symbol.dispose]: () => memory.dispose(),
  };
}

/** `quantizer` with scales as a reader of the file gets them; `download` gives those that the file is made from. */
function withStoredScales(
  device: Device,
  quantizer: Quantizer,
  stored: (scales: Float32Array) => Float32Array<ArrayBuffer>,
): Quantizer {
  const found = new Map<OwnedQuantMat, Float32Array<ArrayBuffer>>();
  return {
    ...quantizer,
    async run(w, q) {
      const done = quantizer.run(w, q);
      if (done) await done;
      const scales = await readF32(device, q.scales, 0, q.scales.bytes / 4);
      found.set(q, scales);
      device.write(q.scales, stored(scales));
    },
    async download(q) {
      return { ...await quantizer.download(q), scales: found.get(q)! };
    },
  };
}

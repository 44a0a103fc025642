import assert from "node:assert/strict";
import type { Span } from "../../../gpu/context.ts";
import {
  NUMBERS,
  WIDE_NUMBERS,
} from "../../../gpu/kernels/quant/number.wgsl.ts";
import { openWebGpuDevice, type WebGpuDevice } from "../../../gpu/device.ts";
import { Random } from "../../../src/tensor/random.ts";
import { gpuTest } from "../../helpers/gpu.ts";

const { fround } = Math;
const COUNT = 1 << 15;

/** Pairs of finite f32 numbers: any bits, like exponents, small ones, few bits (ties), neighbours. */
function pairs(): { a: Float32Array; b: Float32Array } {
  const random = new Random(1, "bits");
  const a = new Uint32Array(COUNT);
  const b = new Uint32Array(COUNT);
  const word = () => (random.uniform() * 2 ** 32) >>> 0;
  for (let i = 0; i < COUNT; i++) {
    let [x, y] = [word(), word()];
    const kind = i % 6;
    if (kind === 1) y = (y & 0x807fffff) | (x & 0x7f800000);
    if (kind === 2) [x, y] = [x & 0x81ffffff, y & 0x81ffffff];
    if (kind === 3) [x, y] = [x & 0xfffff000, y & 0xffff0000];
    if (kind === 4) x &= 0x807fffff;
    if (kind === 5) y = x + y % 64;
    // Below 2^126.
    if ((x & 0x7f800000) >= 0x7e800000) x &= 0x80ffffff;
    if ((y & 0x7f800000) >= 0x7e800000) y &= 0x80ffffff;
    a[i] = x;
    b[i] = y;
  }
  return { a: new Float32Array(a.buffer), b: new Float32Array(b.buffer) };
}

interface Check {
  /** WGSL of x and y, bits of two numbers; gives bits. */
  wgsl: string;
  wanted: (x: number, y: number) => number;
  /** Where it must hold. */
  where?: (x: number, y: number) => boolean;
}

const TINY = fround(1e-38);
const inverse = (x: number) => fround(1 / (Math.abs(x) < TINY ? TINY : x));
const small = (x: number) => Math.abs(x) < 2 ** 20;
const F = 0.975;

/** 0.975 as its 53 bits, moved up by 11. */
function wide(x: number): string {
  const bits = new BigUint64Array(Float64Array.of(x).buffer)[0];
  const mantissa = (bits & (1n << 52n) - 1n | 1n << 52n) << 11n;
  return `Wide(false, ${Number(bits >> 52n) - 1086}, ${mantissa >> 32n}u, ${
    mantissa & 0xffffffffn
  }u)`;
}

const CHECKS: readonly Check[] = [
  { wgsl: "bits_of(wide_of(x))", wanted: (x) => x },
  {
    wgsl: "bits_of(wide_plus(wide_of(x), wide_of(y)))",
    wanted: (x, y) => x + y,
  },
  {
    wgsl: "bits_of(wide_minus(wide_of(x), wide_of(y)))",
    wanted: (x, y) => x - y,
  },
  {
    wgsl: "bits_of(wide_times(wide_of(x), wide_of(y)))",
    wanted: (x, y) => x * y,
    where: (x, y) => Math.abs(x * y) < 2 ** 127,
  },
  {
    wgsl:
      `bits_of(wide_minus(wide_half(wide_plus(wide_of(x), wide_of(y))), wide_times(${
        wide(F)
      }, wide_half(wide_minus(wide_of(y), wide_of(x))))))`,
    wanted: (x, y) => (x + y) / 2 - F * ((y - x) / 2),
  },
  { wgsl: "bitcast<u32>(reciprocal(x, 0))", wanted: inverse },
  {
    wgsl: "bitcast<u32>(reciprocal(x, 100))",
    wanted: (x) => inverse(x) * 2 ** -100,
    where: small,
  },
  {
    wgsl: "bitcast<u32>(moved(x, 100))",
    wanted: (x) => x * 2 ** 100,
    where: small,
  },
  ...[3, 7, 15].map((steps) => ({
    wgsl: `step_of(x, y, ${steps}u)`,
    wanted: (x: number, y: number) => fround(fround(y - x) / steps),
    where: (x: number, y: number) => y >= x && y - x < 2 ** 127,
  })),
];

async function run(
  { context }: WebGpuDevice,
  wgsl: string,
  { a, b }: { a: Float32Array; b: Float32Array },
): Promise<Uint32Array> {
  const bytes = 4 * COUNT;
  const span = (): Span => ({ buffer: context.take(bytes), at: 0, bytes });
  const [x, y, out] = [span(), span(), span()];
  context.write(x.buffer, 0, new Uint8Array(a.buffer));
  context.write(y.buffer, 0, new Uint8Array(b.buffer));
  const code = `
@group(0) @binding(0) var<uniform> params: vec4<u32>;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;
${NUMBERS}${WIDE_NUMBERS}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x + params.x;
  let x = a[i];
  let y = b[i];
  out[i] = ${wgsl};
}`;
  context.run({ name: `number test: ${wgsl}`, code }, {
    params: [0, 0, 0, 0],
    reads: [x, y],
    writes: [out],
    groups: [COUNT / 64],
  });
  return new Uint32Array((await context.read(out.buffer, 0, bytes)).buffer);
}

gpuTest("numbers of the quantisation kernels, to the bit", async (t) => {
  using device = await openWebGpuDevice();
  const input = pairs();
  for (const { wgsl, wanted, where = () => true } of CHECKS) {
    await t.step(wgsl.slice(0, 60), async () => {
      const got = await run(device, wgsl, input);
      let held = 0;
      for (let i = 0; i < COUNT; i++) {
        const [x, y] = [input.a[i], input.b[i]];
        if (!where(x, y)) continue;
        const want = wanted(x, y);
        const [bits] = new Uint32Array(Float32Array.of(want).buffer);
        // Zeros of either sign are the same.
        assert.ok(
          got[i] === bits || ((got[i] | bits) << 1) === 0,
          `${x} and ${y}: got bits ${got[i].toString(16)}, wanted ${
            bits.toString(16)
          } (${want})`,
        );
        held++;
      }
      assert.ok(held > COUNT / 10);
    });
  }
});

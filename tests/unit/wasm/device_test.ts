import assert from "node:assert/strict";
import { type DeviceBuffer, mat } from "../../../src/device/buffer.ts";
import { type PartialDevice, readF32 } from "../../../src/device/device.ts";
import { quantSizes } from "../../../src/device/quant_mat.ts";
import { openReferenceDevice } from "../../../src/device/reference/device.ts";
import { openWasmDevice } from "../../../wasm/device.ts";
import { FORMATS } from "../../../src/quant/formats.ts";
import { Random } from "../../../src/tensor/random.ts";

function normals(device: PartialDevice, n: number, label: string) {
  const buffer = device.alloc(n * 4);
  device.write(buffer, new Random(1, label).normals(n));
  return buffer;
}

/** Results of every threaded operation, large enough that all threads get a share. */
async function results(device: PartialDevice): Promise<Record<string, string>> {
  const { ops } = device;
  const out: Record<string, string> = {};
  const keep = async (name: string, buffer: DeviceBuffer) => {
    out[name] = (await device.read(buffer)).toHex();
  };
  const [m, n, l] = [403, 302, 44];
  const w = normals(device, m * n, "w");
  const v = normals(device, n * l, "v");
  const y = device.alloc(m * l * 4);
  ops.gemm!({ a: mat(w, m, n), b: mat(v, n, l), c: mat(y, m, l) });
  await keep("gemm", y);
  const r = device.alloc(l * l * 4);
  ops.qr!({ y: mat(y, m, l), r: mat(r, l, l) });
  await keep("qr", y);
  await keep("r", r);
  const z = device.alloc(n * l * 4);
  ops.gemm!({
    a: mat(w, m, n),
    transA: true,
    b: mat(y, m, l),
    c: mat(z, n, l),
  });
  await keep("gemm, transposed", z);
  for (const [name, scale] of [["nf3", "absmax"], ["int4", "mse"]] as const) {
    const spec = FORMATS[name];
    const { blocks, codeBytes } = quantSizes(spec, m, n, 64);
    const q = {
      spec,
      rows: m,
      cols: n,
      block: 64,
      codes: device.alloc(codeBytes),
      scales: device.alloc(blocks * 4),
      biases: device.alloc(blocks * 4),
    };
    ops.quantize!({ w: mat(w, m, n), q, scale });
    await keep(`${name} codes`, q.codes);
    await keep(`${name} scales`, q.scales);
    const e = device.alloc(m * n * 4);
    ops.dequantize!({ q, out: mat(e, m, n), from: mat(w, m, n) });
    await keep(`${name} residual`, e);
  }
  const h = device.alloc(n * n * 4);
  ops.gemm!({
    a: mat(w, m, n),
    transA: true,
    b: mat(w, m, n),
    c: mat(h, n, n),
  });
  ops.cholesky!({ h: mat(h, n, n), l: mat(h, n, n), damping: 0.01 });
  await keep("cholesky", h);
  for (const transpose of [false, true]) {
    ops.solveRight!({ x: mat(w, m, n), l: mat(h, n, n), transpose });
    await keep(`solve ${transpose}`, w);
  }
  const [tall, wide] = [150, 120];
  const u = device.alloc(tall * wide * 4);
  const s = device.alloc(wide * 4);
  const vt = device.alloc(wide * wide * 4);
  ops.svd!({
    a: mat(w, tall, wide, 0, n),
    u: mat(u, tall, wide),
    s: mat(s, 1, wide),
    vt: mat(vt, wide, wide),
  });
  await keep("svd u", u);
  await keep("svd s", s);
  await keep("svd vt", vt);
  return out;
}

Deno.test("wasm: results are the same bit for bit on any number of threads", async () => {
  using one = await openWasmDevice({ threads: 1 });
  const expected = await results(one);
  for (const threads of [2, 3]) {
    using device = await openWasmDevice({ threads });
    assert.equal(device.threads, threads);
    const got = await results(device);
    for (const [name, bytes] of Object.entries(expected)) {
      assert.equal(got[name], bytes, `${name}, ${threads} threads`);
    }
  }
});

Deno.test("wasm: large products agree with the reference on two threads", async () => {
  using wasm = await openWasmDevice({ threads: 2 });
  using reference = await openReferenceDevice();
  const [m, n, k] = [157, 211, 1003];
  for (const [transA, transB] of [[false, false], [true, true]]) {
    const run = async (device: PartialDevice) => {
      const a = normals(device, m * k, "a");
      const b = normals(device, k * n, "b");
      const c = normals(device, m * n, "c");
      device.ops.gemm!({
        a: transA ? mat(a, k, m) : mat(a, m, k),
        b: transB ? mat(b, n, k) : mat(b, k, n),
        c: mat(c, m, n),
        add: mat(c, m, n),
        alpha: 0.5,
        beta: -2,
        transA,
        transB,
      });
      return await readF32(device, c);
    };
    const [got, want] = [await run(wasm), await run(reference)];
    for (let i = 0; i < got.length; i++) {
      assert.ok(
        Math.abs(got[i] - want[i]) < 1e-4,
        `${i}: ${got[i]}, ${want[i]}`,
      );
    }
  }
});

Deno.test("wasm: operations reach memory beyond 2 GiB", async () => {
  using device = await openWasmDevice({ threads: 2 });
  const expected = await results(device);
  using _low = device.alloc(2 ** 31);
  const got = await results(device);
  assert.deepEqual(got, expected);
});

Deno.test("wasm: memory returns to where it was", async () => {
  using device = await openWasmDevice({ threads: 1 });
  assert.equal(device.memory.bytes, 0);
  {
    using a = device.alloc(1000);
    using b = device.alloc(50_000_000);
    assert.equal(a.bytes + b.bytes, device.memory.bytes);
  }
  assert.equal(device.memory.bytes, 0);
  assert.equal(device.memory.peakBytes, 50_001_000);
});

Deno.test("wasm: a buffer that was freed, or is another device's, is refused", async () => {
  using device = await openWasmDevice({ threads: 1 });
  using other = await openWasmDevice({ threads: 1 });
  const mine = device.alloc(16);
  using theirs = other.alloc(16);
  mine[Symbol.dispose]();
  mine[Symbol.dispose]();
  await assert.rejects(() => device.read(mine), /was freed/);
  await assert.rejects(() => device.read(theirs), /another device/);
  assert.throws(() => device.write(theirs, new Uint8Array(4)), TypeError);
});

Deno.test("wasm: ranges outside a buffer are refused", async () => {
  using device = await openWasmDevice({ threads: 1 });
  using buffer = device.alloc(16);
  assert.throws(
    () => device.write(buffer, new Uint8Array(8), 9),
    /bytes 9 to 17 of a buffer: it holds 16/,
  );
  await assert.rejects(() => device.read(buffer, 0, 17), RangeError);
  await assert.rejects(() => device.read(buffer, -1, 4), RangeError);
  assert.throws(
    () => device.alloc(2 ** 33),
    (error) =>
      error instanceof RangeError && error.message.includes("8589934592"),
  );
});

Deno.test("wasm: threads must be a whole number of at least 1", async () => {
  for (const threads of [0, -1, 1.5, NaN]) {
    await assert.rejects(() => openWasmDevice({ threads }), RangeError);
  }
});

Deno.test("wasm: opening needs no permission, and a process ends after disposal", async () => {
  const url = new URL("../../../wasm/device.ts", import.meta.url);
  const script = `const { openWasmDevice } = await import(${
    JSON.stringify(url.href)
  });
    const device = await openWasmDevice({ threads: 2 });
    console.log(device.threads);
    device[Symbol.dispose]();`;
  const command = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--quiet",
      `data:text/typescript,${encodeURIComponent(script)}`,
    ],
    signal: AbortSignal.timeout(20_000),
  });
  const { code, stdout, stderr } = await command.output();
  assert.equal(
    code,
    0,
    new TextDecoder().decode(stderr),
  );
  assert.equal(new TextDecoder().decode(stdout).trim(), "2");
});

Deno.test("wasm: a buffer of a device that was disposed of is refused, freeing it is not", async () => {
  const device = await openWasmDevice({ threads: 1 });
  const buffer = device.alloc(8);
  device.write(buffer, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  device[Symbol.dispose]();
  const gone = {
    name: "TypeError",
    message: "Cannot use a buffer: its device was disposed",
  };
  await assert.rejects(async () => await device.read(buffer), gone);
  assert.throws(() => device.write(buffer, new Uint8Array(8)), gone);
  buffer[Symbol.dispose]();
});

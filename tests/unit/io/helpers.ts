/**
 * Helpers of the tests of `src/io`.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { ByteSource } from "../../../src/io/files/bytes.ts";
import { fileSource, listFolder } from "../../../src/io/files/deno.ts";
import { bytesSource } from "../../../src/io/files/sources.ts";
import type { FileSet } from "../../../src/io/files/files.ts";
import { sourceFiles } from "../../../src/io/files/files.ts";

/** Folder of the golden files. */
export const GOLDEN: string = new URL("../../golden/io", import.meta.url)
  .pathname;

/** Bytes of a golden file. */
export async function goldenBytes(
  name: string,
): Promise<Uint8Array<ArrayBuffer>> {
  return await Deno.readFile(`${GOLDEN}/${name}`);
}

/** A golden file as a source; closed with the test. */
export async function goldenSource(name: string): Promise<ByteSource> {
  return await fileSource(`${GOLDEN}/${name}`);
}

/** A golden JSON file. */
export async function goldenJson<T>(name: string): Promise<Record<string, T>> {
  return JSON.parse(await Deno.readTextFile(`${GOLDEN}/${name}`));
}

/** SHA-256 of the bytes of `data`, in hexadecimal. */
export async function sha256(
  data: ArrayBufferView<ArrayBuffer>,
): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data)).toHex();
}

/** Asserts that `work` rejects with an error of exactly this type whose message has all of `parts`. */
export async function rejects(
  work: () => Promise<unknown>,
  type: new (...args: never[]) => Error,
  ...parts: string[]
): Promise<void> {
  const error = await work().then(
    () => assert.fail(`wanted ${type.name}, nothing was thrown`),
    (error: unknown) => error,
  );
  assert.ok(error instanceof type, `wanted ${type.name}, got ${error}`);
  for (const part of parts) {
    assert.ok(error.message.includes(part), `no ${part} in: ${error.message}`);
  }
}

/** A file set of bytes. */
export function files(
  contents: Record<string, Uint8Array | string>,
  name = "folder",
): FileSet {
  const sources = Object.entries(contents).map(([key, data]) => {
    const bytes = typeof data === "string"
      ? new TextEncoder().encode(data)
      : data;
    return [key, bytesSource(bytes, `${name}/${key}`)] as const;
  });
  return sourceFiles(new Map(sources), name);
}

/** A safetensors file with any header, lies included. */
export function rawSafetensors(
  header: unknown,
  data: number | Uint8Array = 0,
): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(
    typeof header === "string" ? header : JSON.stringify(header),
  );
  const body = typeof data === "number" ? new Uint8Array(data) : data;
  const out = new Uint8Array(8 + text.length + body.length);
  new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true);
  out.set(text, 8);
  out.set(body, 8 + text.length);
  return out;
}

/** Runs `work` with a temporary folder, which is removed afterwards. */
export async function inFolder(
  work: (path: string) => Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await work(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

/** Names in a folder. */
export async function namesIn(path: string): Promise<string[]> {
  return (await listFolder(path)).map(({ name }) => name);
}

/** f32 values, somewhat random, the same each time. */
export function values(n: number, seed = 1): Float32Array<ArrayBuffer> {
  let state = seed >>> 0;
  return Float32Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/**
 * A byte source over HTTP ranges.
 *
 * @module
 */

import type { ByteSource } from "../files/bytes.ts";
import { IoError, messageOf, quoted } from "../files/errors.ts";
import { checkRange } from "../files/sources.ts";

/** Options of HTTP requests. */
export interface HttpOptions {
  /** Instead of the global `fetch`. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** Sent with every request, `Authorization` for example. */
  headers?: Record<string, string>;
  /** Retries of a request after a network failure, a 429 or a 5xx (3). */
  retries?: number;
  /** Timeout in milliseconds without data from the server ({@linkcode SILENCE}). */
  silence?: number;
}

/** Memory taken before the first bytes of an answer are there. */
const FIRST_BUFFER = 1 << 24;

/** Timeout in milliseconds for the begin of a server's answer, and then for each next piece of it. */
export const SILENCE = 30_000;

/** Transient failure of a request, which may be repeated. */
class Passing extends Error {}

/** A server that says nothing more. */
export class SilentError extends Error {
  /** For those who cannot ask for the class. */
  override readonly name: string = "SilentError";
}

/**
 * `work` unless it takes longer than `limit` milliseconds: then `stop` is called and the error says that the server is
 * silent.
 */
export async function patiently<T>(
  work: Promise<T>,
  { limit, stop }: { limit: number; stop: () => void },
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silent = new Promise<never>((_, fail) => {
    timer = setTimeout(() => {
      fail(
        new SilentError(`the server has sent nothing for ${limit / 1000} s`),
      );
      stop();
    }, limit);
  });
  try {
    return await Promise.race([work, silent]);
  } finally {
    clearTimeout(timer);
    // Its outcome after the limit is ignored.
    work.catch(() => {});
  }
}

/** The pieces of a body, each awaited for `limit` milliseconds at most. */
export async function* piecesOf(
  response: Response,
  limit: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  const stop = () => void reader.cancel().catch(() => {});
  let whole = false;
  try {
    for (;;) {
      const { done, value } = await patiently(reader.read(), { limit, stop });
      whole = done;
      if (done) return;
      yield value;
    }
  } finally {
    if (!whole) stop();
  }
}

/**
 * Opens `url` for ranged reads: one request for its first byte gives the size.
 *
 * @throws {IoError} If it cannot be reached or its server does not serve ranges.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { httpSource } from "@loqa/loqa";
 *
 * await using server = Deno.serve(
 *   { hostname: "127.0.0.1", port: 0, onListen() {} },
 *   ({ headers }) => { // a server of ranges, of four bytes
 *     const [, from, to] = /(\d+)-(\d+)/.exec(headers.get("range")!)!.map(Number);
 *     return new Response(Uint8Array.of(5, 6, 7, 8).slice(from, to + 1), {
 *       status: 206,
 *       headers: { "content-range": `bytes ${from}-${to}/4` },
 *     });
 *   },
 * );
 * await using source = await httpSource(`http://127.0.0.1:${server.addr.port}/model.safetensors`);
 * assert.deepEqual(await source.read(1, 2), Uint8Array.of(6, 7));
 * ```
 */
export async function httpSource(
  url: string,
  options: HttpOptions = {},
): Promise<ByteSource> {
  const first = await ranged(url, 0, 1, options);
  const { size, etag } = first;
  const source: ByteSource = {
    name: url,
    size,
    async read(offset, length) {
      checkRange(source, offset, length);
      if (length === 0) return new Uint8Array();
      const got = await ranged(url, offset, length, options);
      if (got.size !== size || got.etag !== etag) {
        throw new IoError(
          `Cannot read ${quoted(url)}: it changed while it was read`,
          url,
        );
      }
      return got.bytes;
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  return source;
}

interface Ranged {
  bytes: Uint8Array<ArrayBuffer>;
  size: number;
  etag: string | null;
}

/** One range, with retries after transient failures. */
async function ranged(
  url: string,
  offset: number,
  length: number,
  options: HttpOptions,
): Promise<Ranged> {
  const retries = options.retries ?? 3;
  for (let attempt = 0;; attempt++) {
    try {
      return await requestRange(url, offset, length, options);
    } catch (error) {
      if (!(error instanceof Passing)) throw error;
      if (attempt >= retries) {
        throw new IoError(
          `Cannot read ${quoted(url)}: ${error.message} (tried ${
            attempt + 1
          } times)`,
          url,
          error.cause,
        );
      }
      await new Promise((done) => setTimeout(done, 100 * 4 ** attempt));
    }
  }
}

async function requestRange(
  url: string,
  offset: number,
  length: number,
  { fetch = globalThis.fetch, headers, silence = SILENCE }: HttpOptions,
): Promise<Ranged> {
  const last = offset + length - 1;
  const stop = new AbortController();
  let response: Response;
  try {
    const answer = fetch(url, {
      headers: { ...headers, range: `bytes=${offset}-${last}` },
      signal: stop.signal,
    });
    response = await patiently(answer, {
      limit: silence,
      stop: () => stop.abort(),
    });
  } catch (cause) {
    // A missing permission will not come by asking again.
    if (cause instanceof Error && cause.name === "NotCapable") throw cause;
    throw new Passing(messageOf(cause), { cause });
  }
  const etag = response.headers.get("etag");
  const range = response.headers.get("content-range");
  if (response.status === 416 && range?.trim() === "bytes */0") {
    await response.body?.cancel();
    return { bytes: new Uint8Array(), size: 0, etag };
  }
  if (response.status !== 206) {
    await response.body?.cancel();
    const status = `${response.status} ${response.statusText}`.trim();
    if (response.status === 429 || response.status >= 500) {
      throw new Passing(`the server answered ${status}`);
    }
    throw new IoError(
      response.ok
        ? `Cannot read ${
          quoted(url)
        } in parts: its server does not serve ranges (wanted 206, got ${status}); download it first`
        : `Cannot read ${quoted(url)}: the server answered ${status}`,
      url,
    );
  }
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(range?.trim() ?? "");
  if (
    match === null || Number(match[1]) !== offset || Number(match[2]) !== last
  ) {
    await response.body?.cancel();
    throw new IoError(
      `Cannot read ${
        quoted(url)
      }: wanted the range ${offset}-${last}, got ${range}`,
      url,
    );
  }
  const bytes = await readBody(response, { length, url, silence });
  return { bytes, size: Number(match[3]), etag };
}

/** Exactly `length` bytes of a body, which may be neither shorter nor longer. */
async function readBody(
  response: Response,
  { length, url, silence }: { length: number; url: string; silence: number },
): Promise<Uint8Array<ArrayBuffer>> {
  // The size of the whole is the server's claim; memory is allocated for bytes that really arrive.
  let bytes = new Uint8Array(Math.min(length, FIRST_BUFFER));
  let size = 0;
  try {
    for await (const part of piecesOf(response, silence)) {
      if (size + part.length > length) {
        throw new IoError(
          `Cannot read ${
            quoted(url)
          }: wanted ${length} bytes, the server sends more`,
          url,
        );
      }
      if (size + part.length > bytes.length) {
        const grown = new Uint8Array(
          Math.min(length, Math.max(2 * bytes.length, size + part.length)),
        );
        grown.set(bytes.subarray(0, size));
        bytes = grown;
      }
      bytes.set(part, size);
      size += part.length;
    }
  } catch (cause) {
    if (cause instanceof IoError) throw cause;
    throw new Passing(messageOf(cause), { cause });
  }
  if (size < length) {
    throw new Passing(`the connection ended after ${size} of ${length} bytes`);
  }
  return bytes.length === size ? bytes : bytes.slice(0, size);
}

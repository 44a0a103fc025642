/**
 * Downloads that go on where they were interrupted.
 *
 * @module
 */

import { fileSink, fileSize, partPath, remove } from "../files/deno.ts";
import { IoError, messageOf, quoted } from "../files/errors.ts";
import { patiently, piecesOf, SILENCE } from "./http.ts";

/** Options of {@linkcode downloadFile}. */
export interface DownloadOptions {
  /** Bytes that the file must have. */
  readonly size: number;
  /** Continues the part file of an earlier run. */
  readonly resume: boolean;
  /** Sent along. */
  readonly headers: Readonly<Record<string, string>>;
  /** Checks the whole part file before it is put in place; resolves to its fault, if any. */
  readonly check: () => Promise<string | undefined>;
  /** Called with the number of bytes so far, after each piece. */
  readonly onProgress?: (bytes: number) => void;
  /** Retries of a broken transfer (3). */
  readonly retries?: number;
  /** Milliseconds that the server may be silent. */
  readonly silence?: number;
}

/** The server stopped; asking again may help. */
class Broken extends Error {}

/**
 * Downloads `url` to `path`, through a part file beside it.
 *
 * @throws {IoError} If the server cannot be reached or refuses, or the contents are not what `check` wants; a wrong
 *   part file is removed.
 */
export async function downloadFile(
  url: string,
  path: string,
  options: DownloadOptions,
): Promise<void> {
  if (!options.resume) await remove(partPath(path));
  const retries = options.retries ?? 3;
  for (let attempt = 0;; attempt++) {
    try {
      await transfer(url, path, options);
      return;
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      if (attempt >= retries) {
        throw new IoError(
          `Cannot download ${
            quoted(url)
          }: ${error.message}; run again to go on`,
          url,
          error.cause,
        );
      }
      await new Promise((done) => setTimeout(done, 100 * 4 ** attempt));
    }
  }
}

async function transfer(
  url: string,
  path: string,
  { size, headers, check, onProgress, silence = SILENCE }: DownloadOptions,
): Promise<void> {
  const held = await fileSize(partPath(path)) ?? 0;
  let start = held <= size ? held : 0;
  let answer: Response | undefined;
  if (start < size) {
    const response = await request(url, { start, headers, silence });
    // A server that ignores the range sends the whole file.
    if (response.status === 200) start = 0;
    else checkStart(response, start, url);
    answer = response;
  }
  // Kept without closing, so that a later run can go on.
  await using sink = await fileSink(path, { resumeAt: start });
  try {
    const pieces = answer ? piecesOf(answer, silence) : [];
    for await (const piece of pieces) {
      if (sink.size + piece.length > size) {
        throw new IoError(
          `Cannot download ${
            quoted(url)
          }: wanted ${size} bytes, the server sends more`,
          url,
        );
      }
      await sink.write(piece);
      onProgress?.(sink.size);
    }
  } catch (cause) {
    if (cause instanceof IoError) throw cause;
    throw new Broken(messageOf(cause), { cause });
  }
  if (sink.size < size) {
    throw new Broken(`the transfer ended after ${sink.size} of ${size} bytes`);
  }
  await sink.sync();
  const wrong = await check();
  if (wrong !== undefined) {
    await remove(partPath(path));
    throw new IoError(
      `Cannot download ${quoted(url)}: ${wrong}; run again to begin anew`,
      url,
    );
  }
  await sink.close();
}

async function request(
  url: string,
  { start, headers, silence }: {
    start: number;
    headers: Readonly<Record<string, string>>;
    silence: number;
  },
): Promise<Response> {
  const stop = new AbortController();
  let response: Response;
  try {
    const answer = fetch(url, {
      signal: stop.signal,
      headers: {
        ...headers,
        // Contents coded for the way would not add up to the size.
        "accept-encoding": "identity",
        ...(start > 0 ? { range: `bytes=${start}-` } : {}),
      },
    });
    response = await patiently(answer, {
      limit: silence,
      stop: () => stop.abort(),
    });
  } catch (cause) {
    if (cause instanceof Error && cause.name === "NotCapable") throw cause;
    throw new Broken(messageOf(cause), { cause });
  }
  if (response.ok) return response;
  await response.body?.cancel();
  const status = `${response.status} ${response.statusText}`.trim();
  if (response.status === 429 || response.status >= 500) {
    throw new Broken(`the server answered ${status}`);
  }
  throw new IoError(
    `Cannot download ${quoted(url)}: the server answered ${status}`,
    url,
  );
}

function checkStart(response: Response, start: number, url: string): void {
  const range = response.headers.get("content-range");
  if (start === 0 && range === null) return;
  if (!range?.trim().startsWith(`bytes ${start}-`)) {
    throw new IoError(
      `Cannot download ${
        quoted(url)
      }: wanted the range from ${start} on, got ${range}`,
      url,
    );
  }
}

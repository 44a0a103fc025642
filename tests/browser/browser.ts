/**
 * Runs a page in headless Chromium, with WebGPU on a software adapter.
 *
 * The page answers by a request to the server that it came from, so that nothing but the browser itself is needed.
 *
 * @module
 */

import { build, stop } from "npm:esbuild@0.28.2";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

/** Path of a Chromium: `$LOQA_CHROMIUM`, or the first of the usual names on the path; null where there is none. */
export async function findChromium(): Promise<string | null> {
  const asked = Deno.env.get("LOQA_CHROMIUM");
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  const paths = asked
    ? [asked]
    : NAMES.flatMap((name) => folders.map((folder) => `${folder}/${name}`));
  for (const path of paths) {
    const found = await Deno.stat(path).catch(() => null);
    if (found?.isFile) return path;
  }
  return null;
}

/** A module and all it imports as one script for a browser. */
export async function bundle(entry: URL): Promise<string> {
  try {
    const { outputFiles } = await build({
      entryPoints: [entry.pathname],
      bundle: true,
      write: false,
      format: "esm",
      platform: "browser",
      target: "es2023",
      alias: {
        "node:assert/strict": new URL("./assert.ts", import.meta.url).pathname,
      },
      logLevel: "silent",
    });
    return outputFiles[0].text;
  } finally {
    await stop();
  }
}

/** Headers that let a page share memory with its workers. */
const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

const TYPES: Readonly<Record<string, string>> = {
  js: "text/javascript",
  json: "application/json",
  wasm: "application/wasm",
};

/** Options of {@linkcode runPage}. */
export interface PageOptions {
  /** Timeout without a word from the page. */
  readonly seconds: number;
  /** Further files that it can fetch: paths by their place, such as `/model.gguf`. With them it can have threads. */
  readonly files?: Readonly<Record<string, string>>;
}

/** Opens a page that runs `script`; resolves to its text sent to `/outcome`. Before, it reports to `/doing`. */
export async function runPage(
  chromium: string,
  script: string,
  { seconds, files }: PageOptions,
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let doing = "nothing yet";
  const giveUp = () =>
    reject(new Error(`no word for ${seconds} s from the page, doing ${doing}`));
  let timer = setTimeout(giveUp, seconds * 1000);
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/outcome") {
        resolve(await request.text());
        return new Response();
      }
      if (pathname === "/doing") {
        doing = await request.text();
        clearTimeout(timer);
        timer = setTimeout(giveUp, seconds * 1000);
        return new Response();
      }
      const answer = (body: BodyInit, type: string) =>
        new Response(body, {
          headers: { "content-type": type, ...(files && ISOLATION) },
        });
      if (files && Object.hasOwn(files, pathname)) {
        const { readable } = await Deno.open(files[pathname]);
        const type = TYPES[pathname.split(".").at(-1)!];
        return answer(readable, type ?? "application/octet-stream");
      }
      return pathname === "/page.js" ? answer(script, TYPES.js) : answer(
        '<!doctype html><meta charset="utf-8"><script type="module" src="page.js"></script>',
        "text/html",
      );
    },
  );
  const profile = await Deno.makeTempDir({ prefix: "loqa_browser_" });
  const child = new Deno.Command(chromium, {
    args: [
      "--headless=new",
      // A container's root has no sandbox to use.
      "--no-sandbox",
      "--no-first-run",
      "--enable-unsafe-webgpu",
      "--enable-features=Vulkan",
      "--use-webgpu-adapter=swiftshader",
      `--user-data-dir=${profile}`,
      `http://127.0.0.1:${server.addr.port}/`,
    ],
    env: { TMPDIR: profile },
    stdout: "null",
    stderr: "null",
  }).spawn();
  const ended = child.status.then(({ code }) =>
    reject(new Error(`${chromium} ended before the page answered (${code})`))
  );
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    child.kill("SIGKILL");
    await ended;
    await server.shutdown();
    // Its children may write a little longer.
    await Deno.remove(profile, { recursive: true }).catch(() => {});
  }
}

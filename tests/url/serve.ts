/**
 * Serves the repository on a loopback port, as a static host would, with some pages of a test's own.
 *
 * @module
 */

const ROOT = new URL("../../", import.meta.url);

/** A running server. */
export interface Served extends AsyncDisposable {
  /** `http://127.0.0.1:PORT/`. */
  readonly url: string;
  /** Requested paths so far. */
  readonly asked: readonly string[];
}

/** Serves the repository; `pages` maps paths (`/x.ts`) to sources that exist only here. */
export function serve(pages: Readonly<Record<string, string>>): Served {
  const asked: string[] = [];
  const headers = { "content-type": "application/typescript" };
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      asked.push(pathname);
      if (pathname in pages) return new Response(pages[pathname], { headers });
      try {
        const text = await Deno.readTextFile(new URL(`.${pathname}`, ROOT));
        return new Response(text, { headers });
      } catch {
        return new Response("not found", { status: 404 });
      }
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    asked,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Output and exit of a run. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `deno run --no-prompt URL` without a permission and with an empty cache of its own. */
export async function runUrl(url: string): Promise<Ran> {
  const cache = await Deno.makeTempDir({ prefix: "loqa-url-" });
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-prompt", "--no-config", "--no-lock", url],
      cwd: cache,
      // Mesa's drivers complain on stderr where they know no such folder.
      env: { DENO_DIR: cache, XDG_RUNTIME_DIR: cache, NO_COLOR: "1" },
    }).output();
    const decoder = new TextDecoder();
    return {
      code,
      stdout: decoder.decode(stdout),
      stderr: decoder.decode(stderr),
    };
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
}

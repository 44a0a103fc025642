/**
 * Ctrl-C in a verb that writes: the first stops it at a safe point, the second at once.
 *
 * @module
 */

import { clearBar } from "./text/progress.ts";

/**
 * Runs `work` so that it can be interrupted; resolves to the exit code. Until `work` calls `started`, or the second time, an
 * interrupt ends the process at once: what is on the disk serves `--resume`, where the verb `resumes`.
 */
export async function interruptible(
  work: (signal: AbortSignal, started: () => void) => Promise<void>,
  { resumes }: { resumes: boolean },
): Promise<number> {
  const stop = new AbortController();
  let writing = false;
  const interrupt = () => {
    if (!writing || stop.signal.aborted) {
      clearBar();
      Deno.exit(130);
    }
    stop.abort();
  };
  Deno.addSignalListener("SIGINT", interrupt);
  Deno.addSignalListener("SIGTERM", interrupt);
  try {
    await work(stop.signal, () => writing = true);
    return 0;
  } catch (error) {
    if (error !== stop.signal.reason) throw error;
    clearBar();
    console.error(
      resumes
        ? "loqa: interrupted; continue with the same command and --resume"
        : "loqa: interrupted; no output was written",
    );
    return 130;
  } finally {
    Deno.removeSignalListener("SIGINT", interrupt);
    Deno.removeSignalListener("SIGTERM", interrupt);
  }
}

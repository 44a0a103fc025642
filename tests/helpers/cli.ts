/**
 * Runs the command line as a user does.
 *
 * @module
 */

const ROOT = new URL("../../", import.meta.url).pathname;

/** What a command left. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A child process that runs `loqa ARGS`, with its output piped. */
export function spawnLoqa(args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", `${ROOT}src/cli/main.ts`, ...args],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
}

/** Waits for a child and decodes its output. */
export async function outcome(child: Deno.ChildProcess): Promise<Outcome> {
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** Runs `loqa ARGS` to its end. */
export function loqa(...args: string[]): Promise<Outcome> {
  return outcome(spawnLoqa(args));
}

/**
 * Runs the command line as a user does.
 *
 * @module
 */

const ROOT = new URL("../../", import.meta.url).pathname;

/** Outcome of a command. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of running a command. */
export interface Surroundings {
  /** The script, from the project's root; the command line by default. */
  readonly main?: string;
  /** More environment variables. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A child process that runs `loqa ARGS`, with its output piped. */
export function spawnLoqa(
  args: readonly string[],
  { main = "src/cli/main.ts", env = {} }: Surroundings = {},
): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--quiet",
      new URL(main, `file://${ROOT}`).pathname,
      ...args,
    ],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1", ...env },
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

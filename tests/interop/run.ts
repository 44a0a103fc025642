/**
 * Runs our command line and the peers' scripts, and turns what a script checked into tests.
 *
 * @module
 */

import assert from "node:assert/strict";
import { findPython } from "./environment.ts";

const ROOT = new URL("../../", import.meta.url);
const decoder = new TextDecoder();

/** Exit of a command. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `loqa ARGS`. */
export async function loqa(...args: string[]): Promise<Ran> {
  const main = new URL("src/cli/main.ts", ROOT).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", main, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  return {
    code,
    stdout: decoder.decode(stdout),
    stderr: decoder.decode(stderr),
  };
}

/** Runs `loqa ARGS --json --quiet`, which must succeed, and returns its document. */
export async function loqaJson(
  ...args: string[]
): Promise<Record<string, unknown>> {
  const ran = await loqa(...args, "--json", "--quiet");
  assert.equal(ran.code, 0, `loqa ${args.join(" ")}\n${ran.stderr}`);
  return JSON.parse(ran.stdout);
}

/** A folder that goes when the test file is done. */
export function scratch(): string {
  const folder = Deno.makeTempDirSync({ prefix: "loqa-interop-" });
  globalThis.addEventListener(
    "unload",
    () => Deno.removeSync(folder, { recursive: true }),
  );
  return folder;
}

/** One thing that a script looked at. */
interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** One Python process a test file, started when it is first needed. */
class Worker {
  #writer: WritableStreamDefaultWriter<Uint8Array>;
  #reader: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(python: string) {
    const child = new Deno.Command(python, {
      args: ["-u", new URL("worker.py", import.meta.url).pathname],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      env: {
        PYTHONWARNINGS: "ignore",
        PYTHONDONTWRITEBYTECODE: "1",
        HF_HUB_OFFLINE: "1",
        NO_COLOR: "1",
      },
    }).spawn();
    child.unref();
    globalThis.addEventListener("unload", () => {
      try {
        child.kill();
      } catch {
        // It has ended by itself.
      }
    });
    this.#writer = child.stdin.getWriter();
    this.#reader = child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
  }

  async #line(): Promise<string> {
    while (!this.#rest.includes("\n")) {
      const { value, done } = await this.#reader.read();
      assert.ok(!done, "Python ended in the middle of a script");
      this.#rest += value;
    }
    const end = this.#rest.indexOf("\n");
    const line = this.#rest.slice(0, end);
    this.#rest = this.#rest.slice(end + 1);
    return line;
  }

  /** Runs a script and returns what it checked. */
  async run(script: string, args: readonly string[]): Promise<Check[]> {
    const request = JSON.stringify([script, ...args]) + "\n";
    await this.#writer.write(new TextEncoder().encode(request));
    const checks: Check[] = [];
    for (;;) {
      const line = await this.#line();
      if (line.startsWith("CHECK ")) checks.push(JSON.parse(line.slice(6)));
      if (!line.startsWith("DONE ")) continue;
      const failure: string = JSON.parse(line.slice(5));
      assert.equal(failure, "", `${script} ${args.join(" ")}\n${failure}`);
      assert.ok(checks.length > 0, `${script} checked nothing`);
      return checks;
    }
  }
}

let worker: Worker | undefined;

async function runScript(
  script: string,
  args: readonly string[],
): Promise<Check[]> {
  const python = await findPython();
  assert.ok(python, "no Python: run `deno task test:interop`");
  worker ??= new Worker(python);
  return await worker.run(script, args);
}

/** A model of a test: `label`, and a reason to be ignored when its input is absent. */
export interface Subject {
  readonly label: string;
  readonly missing?: string;
}

/**
 * Runs `prepare` (our side, giving the script's arguments), then the script, and registers each of its checks as a
 * test. That either of them breaks is a failed test too; a missing input, an ignored one.
 */
export async function peerTests(
  subject: Subject,
  script: string,
  prepare: () => Promise<string[]>,
): Promise<void> {
  const { label, missing } = subject;
  if (missing) {
    Deno.test({ name: `${label} (${missing})`, ignore: true, fn() {} });
    return;
  }
  let checks: Check[] = [];
  let failure: unknown;
  try {
    checks = await runScript(script, await prepare());
  } catch (error) {
    failure = error;
  }
  Deno.test(`${label}: ${script} ran to its end`, () => {
    if (failure) throw failure;
  });
  for (const { name, ok, detail } of checks) {
    Deno.test(`${label}: ${name}`, () => assert.ok(ok, detail));
  }
}

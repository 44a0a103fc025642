/**
 * Talks to peers.py: one JSON request a line, one answer a line.
 *
 * @module
 */

import { findPython } from "../interop/environment.ts";

/** A running peer process. */
export class Peer implements AsyncDisposable {
  #child: Deno.ChildProcess;
  #writer: WritableStreamDefaultWriter<Uint8Array>;
  #reader: ReadableStreamDefaultReader<string>;
  #rest = "";

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#writer = child.stdin.getWriter();
    this.#reader = child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
  }

  /** Starts the peers, or gives undefined where there is no Python environment. */
  static async start(): Promise<Peer | undefined> {
    const python = await findPython();
    if (python === undefined) return undefined;
    const script = new URL("peers.py", import.meta.url).pathname;
    const child = new Deno.Command(python, {
      args: ["-u", script],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    return new Peer(child);
  }

  /** Sends a request and waits for its answer. */
  async ask(
    request: Readonly<Record<string, unknown>>,
  ): Promise<Record<string, unknown>> {
    const line = new TextEncoder().encode(JSON.stringify(request) + "\n");
    await this.#writer.write(line);
    while (!this.#rest.includes("\n")) {
      const { value, done } = await this.#reader.read();
      if (done) {
        const { code, signal } = await this.#child.status;
        throw new Error(
          `Cannot ask the peers: peers.py has ended (${signal ?? code})`,
        );
      }
      this.#rest += value;
    }
    const end = this.#rest.indexOf("\n");
    const answer = JSON.parse(this.#rest.slice(0, end));
    this.#rest = this.#rest.slice(end + 1);
    if (answer.error) {
      throw new Error(
        `Cannot measure ${JSON.stringify(request)}: ${answer.error}`,
      );
    }
    return answer;
  }

  /** Seconds of what `request` asks for. */
  async seconds(request: Readonly<Record<string, unknown>>): Promise<number> {
    return Number((await this.ask(request)).seconds);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Both fail where the process has ended already.
    await this.#writer.close().catch(() => {});
    await this.#reader.cancel().catch(() => {});
    await this.#child.status;
  }
}

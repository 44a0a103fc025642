/**
 * Progress on stderr: a bar with the time left where a person looks on, a line every few seconds where nobody does.
 *
 * @module
 */

import { terminalWidth, wrapped } from "./wrap.ts";

/** Where progress goes. */
export interface ProgressOptions {
  /** No output at all. */
  readonly quiet?: boolean;
  /** True if stderr is a terminal; asked of it by default. */
  readonly terminal?: boolean;
  /** Columns of the terminal; asked of it by default. */
  readonly columns?: () => number;
  /** Milliseconds now; for tests. */
  readonly now?: () => number;
  /** Takes the text; stderr by default. */
  readonly write?: (text: string) => void;
}

const BAR = 24;
/** Columns below which a bar is useless. */
const LEAST_BAR = 6;
/** Milliseconds between two drawings. */
const TERMINAL_INTERVAL = 80;
const LINE_INTERVAL = 5000;

/** `95` as `1:35`, `3700` as `1:01:40`. */
export function clock(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  const two = (n: number) => String(n).padStart(2, "0");
  const minutes = Math.floor(s / 60);
  return minutes < 60
    ? `${minutes}:${two(s % 60)}`
    : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(s % 60)}`;
}

/** Removes the bar that is shown, whosever it is. */
let clearShown = () => {};

/** Removes the bar that is on the screen, so that a line which does not come from its owner begins a line of its own. */
export function clearBar(): void {
  clearShown();
}

/** Shows how far a run is. Disposing ends the line. */
export class Progress implements Disposable {
  readonly #quiet: boolean;
  readonly #terminal: boolean;
  readonly #columns: () => number;
  readonly #now: () => number;
  readonly #write: (text: string) => void;
  readonly #began: number;
  #drawn = -Infinity;
  #first: number | undefined;
  #width = 0;

  constructor(options: ProgressOptions = {}) {
    this.#quiet = options.quiet ?? false;
    this.#terminal = options.terminal ?? Deno.stderr.isTerminal();
    this.#columns = options.columns ??
      (() => terminalWidth(Deno.stderr) ?? 80);
    this.#now = options.now ?? (() => performance.now());
    this.#write = options.write ?? writeIfRead;
    this.#began = this.#now();
  }

  /**
   * `done` is the share finished, from 0 to 1; `text` names the current step. Time left is shown once a fiftieth is done.
   */
  update(done: number, text: string): void {
    if (this.#quiet) return;
    const now = this.#now();
    // What a resumed run finds done cost it no time.
    this.#first ??= done;
    const interval = this.#terminal ? TERMINAL_INTERVAL : LINE_INTERVAL;
    if (done < 1 && now - this.#drawn < interval) return;
    this.#drawn = now;
    const spent = (now - this.#began) / 1000;
    const share = (done - this.#first) / (1 - this.#first || 1);
    const left = share > 0.02 && done < 1
      ? `, ${clock((spent * (1 - share)) / share)} left`
      : "";
    const percent = `${String(Math.floor(done * 100)).padStart(3)} %`;
    const line = `${percent}  ${clock(spent)}${left}  ${text}`;
    if (!this.#terminal) {
      this.#write(`${line}\n`);
      return;
    }
    // The bar gives way to the text, which tells more.
    const room = Math.min(BAR, this.#columns() - line.length - 2);
    if (room < LEAST_BAR) {
      this.#draw(line);
      return;
    }
    const full = Math.round(done * room);
    this.#draw(`${"━".repeat(full)}${"─".repeat(room - full)} ${line}`);
  }

  /** Writes a line that stays, above the bar. */
  note(line: string): void {
    if (!this.#quiet) this.warn(line);
  }

  /** Writes a line that stays and is shown in any case. */
  warn(line: string): void {
    this.#clear();
    this.#write(
      `${wrapped(line, this.#terminal ? this.#columns() : undefined)}\n`,
    );
  }

  /** Removes the bar. */
  [Symbol.dispose](): void {
    this.#clear();
  }

  #draw(line: string): void {
    const columns = this.#columns();
    const shown = line.length < columns ? line : line.slice(0, columns - 1);
    this.#write(`\r${shown.padEnd(this.#width)}`);
    this.#width = shown.length;
    clearShown = () => this.#clear();
  }

  #clear(): void {
    if (this.#width === 0) return;
    this.#write(`\r${" ".repeat(this.#width)}\r`);
    this.#width = 0;
  }
}

/** Writes to stderr; that nobody reads there any more is no reason to stop. */
function writeIfRead(text: string): void {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(text));
  } catch {
    // What is lost was news only.
  }
}

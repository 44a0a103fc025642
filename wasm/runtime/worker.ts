/**
 * A thread: takes parts of jobs from shared memory, and sleeps when there are none.
 *
 * Built into `../generated/worker_source.ts`, since a worker that comes from a blob needs no permission. Layout of the control
 * words: `loader.ts`.
 *
 * @module
 */

/** First message to a worker. */
interface Start {
  /** The compiled kernels. */
  readonly module: WebAssembly.Module;
  /** The memory of all threads. */
  readonly memory: WebAssembly.Memory;
  /** Names of the jobs by number. */
  readonly jobs: readonly string[];
  /** Number of this thread, from 1 on; 0 is the caller. */
  readonly thread: number;
  /** Address of the control words. */
  readonly control: number;
  /** Address of a job's arguments. */
  readonly args: number;
  /** Polls for a job before sleeping. */
  readonly spins: number;
}

type Job = (
  args: number,
  part: number,
  parts: number,
  thread: number,
) => void;

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<Start>) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
};

scope.onmessage = ({ data }) => {
  const { module, memory, thread, args, spins } = data;
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  const jobs = data.jobs.map((name) => instance.exports[name] as Job);
  const control = new Int32Array(memory.buffer, data.control, 8);
  scope.postMessage("ready");
  for (;;) {
    let claim = Atomics.load(control, 0);
    for (let i = 0; (claim & 0xfff) === 0 && i < spins; i++) {
      claim = Atomics.load(control, 0);
    }
    if ((claim & 0xfff) === 0) {
      Atomics.wait(control, 0, claim);
      continue;
    }
    if (Atomics.compareExchange(control, 0, claim, claim - 1) !== claim) {
      continue;
    }
    // The job stays as it is until this part of it is done.
    const job = Atomics.load(control, 1);
    if (job < 0) break;
    try {
      jobs[job](args, (claim & 0xfff) - 1, Atomics.load(control, 2), thread);
    } catch {
      Atomics.store(control, 4, 1);
    }
    if (Atomics.sub(control, 3, 1) === 1) Atomics.notify(control, 3);
  }
  scope.close();
};

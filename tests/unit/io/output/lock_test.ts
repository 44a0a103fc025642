import assert from "node:assert/strict";
import { exists } from "../../../../src/io/files/deno.ts";
import { hostName, processStart } from "../../../../src/io/output/deno_lock.ts";
import { IoError } from "../../../../src/io/files/errors.ts";
import {
  LOCK_FILE,
  lockFolder,
  mayHold,
} from "../../../../src/io/output/lock.ts";
import { inFolder } from "../helpers.ts";

const HERE = hostName();

/** A process that locks `folder` and keeps it, with the permissions that a verb needs at the least. */
async function holder(folder: string): Promise<Deno.ChildProcess> {
  const code = `
    import { lockFolder } from ${
    JSON.stringify(import.meta.resolve("../../../../src/io/output/lock.ts"))
  };
    await using _ = await lockFolder(${JSON.stringify(folder)}, "train");
    console.log("held");
    await new Promise((resolve) => setTimeout(resolve, 60000));`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-R", "-W", "--quiet", "--no-check", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(code));
  await writer.close();
  const reader = child.stdout.getReader();
  await reader.read();
  reader.releaseLock();
  return child;
}

/** Ends a process at once. */
async function kill(child: Deno.ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await child.status;
  await child.stdout.cancel();
}

Deno.test("a folder has one writer; the second is told who it is", async () => {
  await inFolder(async (folder) => {
    {
      await using _ = await lockFolder(folder, "init");
      await assert.rejects(lockFolder(folder, "train"), (error) => {
        assert.ok(error instanceof IoError);
        assert.match(
          error.message,
          new RegExp(
            `^Cannot write to ".*": process ${Deno.pid} on ${HERE} \\(init, since \\d{4}-.*Z\\) writes there; wait until it is done, or stop it$`,
          ),
        );
        return true;
      });
    }
    assert.equal(await exists(`${folder}/${LOCK_FILE}`), false);
    await using _ = await lockFolder(folder, "train");
  });
});

Deno.test("a lock of another process is refused while it runs, and taken over once it was killed", async () => {
  await inFolder(async (folder) => {
    const child = await holder(folder);
    try {
      await assert.rejects(
        lockFolder(folder, "init"),
        new RegExp(`process ${child.pid} on ${HERE} \\(train, since `),
      );
    } finally {
      await kill(child);
    }
    assert.equal(await exists(`${folder}/${LOCK_FILE}`), true);
    await using lock = await lockFolder(folder, "init");
    assert.equal(
      JSON.parse(await Deno.readTextFile(lock.path)).pid,
      Deno.pid,
    );
  });
});

Deno.test("a lock that another host left is refused with the file to remove, and stays", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/${LOCK_FILE}`;
    const left = JSON.stringify({
      pid: 7,
      host: "elsewhere",
      verb: "train",
      since: "2026-01-02T03:04:05.678Z",
    });
    await Deno.writeTextFile(path, left);
    await assert.rejects(
      lockFolder(folder, "init"),
      new RegExp(
        `process 7 on elsewhere \\(train, since 2026-01-02T03:04:05.678Z\\) writes there; this host, ${HERE}, cannot see whether it still runs: if it does not, remove ".*/loqa.lock"$`,
      ),
    );
    assert.equal(await Deno.readTextFile(path), left);
  });
});

Deno.test("a lock file that was cut off, or holds something else, is nobody's", async () => {
  for (const text of ["", '{"pid":', "null", '{"pid":"x"}', "\0\xff"]) {
    await inFolder(async (folder) => {
      await Deno.writeTextFile(`${folder}/${LOCK_FILE}`, text);
      await using _ = await lockFolder(folder, "init");
    });
  }
});

Deno.test("where files cannot be locked, a process that is gone or has another beginning holds nothing", () => {
  const left = { pid: Deno.pid, host: HERE, verb: "init", since: "" };
  const started = processStart(Deno.pid);
  if (started === undefined) return; // No /proc here.
  assert.match(started, /^\d+$/);
  assert.equal(mayHold({ ...left, started }, false), true);
  assert.equal(mayHold(left, false), true);
  assert.equal(mayHold({ ...left, started: `${started}0` }, false), false);
  assert.equal(mayHold({ ...left, pid: 2 ** 30, started }, false), false);
  assert.equal(mayHold({ ...left, started }, true), false);
});

Deno.test("of many that lock at once one gets it", async () => {
  await inFolder(async (folder) => {
    for (let round = 0; round < 20; round++) {
      const all = await Promise.allSettled(
        Array.from({ length: 8 }, () => lockFolder(folder, "init")),
      );
      const got = all.filter((one) => one.status === "fulfilled");
      assert.equal(got.length, 1);
      await got[0].value[Symbol.asyncDispose]();
    }
  });
});

import assert from "node:assert/strict";
import { outcome } from "../helpers/cli.ts";
import { comparable } from "../helpers/model.ts";
import {
  assertSame,
  failsWith,
  initArgs,
  succeeds,
  there,
  withModel,
} from "./work.ts";

async function system(command: string, ...args: string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(command, {
      args,
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch {
    return false;
  }
}

/** A file system of `size` at `path`, while it is held. */
async function mounted(
  path: string,
  size: string,
): Promise<AsyncDisposable | undefined> {
  await Deno.mkdir(path, { recursive: true });
  const options = ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path];
  if (!await system("mount", ...options)) return undefined;
  return {
    async [Symbol.asyncDispose]() {
      assert.ok(await system("umount", path), `umount ${path}`);
    },
  };
}

const probe = await Deno.makeTempDir();
const disk = await mounted(probe, "64k");
await disk?.[Symbol.asyncDispose]();
await Deno.remove(probe);

const needsMount = disk ? "" : " (needs to mount a tmpfs, which fails here)";

for (const size of ["100k", "300k"]) {
  Deno.test({
    name: `a disk of ${size} is full: one line, nothing at OUT${needsMount}`,
    ignore: !disk,
    fn: () =>
      withModel(async (folder) => {
        await using _disk = await mounted(`${folder}/disk`, size);
        const out = `${folder}/disk/out`;
        await failsWith(
          initArgs(folder, out),
          new RegExp(
            `^loqa: Cannot write ".*/disk/out\\.partial/.*": the disk is full$`,
            "m",
          ),
        );
        assert.equal(await there(out), false);
      }),
  });
}

Deno.test({
  name: `a full disk that is made larger: --resume goes on${needsMount}`,
  ignore: !disk,
  fn: () =>
    withModel(async (folder) => {
      await succeeds(initArgs(folder, `${folder}/whole`));
      await using _disk = await mounted(`${folder}/disk`, "300k");
      const out = `${folder}/disk/out`;
      await failsWith(initArgs(folder, out), /the disk is full$/m);
      const grow = ["-o", "remount,size=8m", `${folder}/disk`];
      assert.ok(await system("mount", ...grow));
      await succeeds(initArgs(folder, out, "--resume"));
      await assertSame(out, await comparable(`${folder}/whole`));
    }),
});

const bash = await system("bash", "-c", "ulimit -f 100");

Deno.test({
  name: `files may not grow: one line that names the file, nothing at OUT${
    bash ? "" : " (needs bash and ulimit)"
  }`,
  ignore: !bash,
  fn: () =>
    withModel(async (folder) => {
      const out = `${folder}/out`;
      const main = new URL("../../src/cli/main.ts", import.meta.url).pathname;
      const child = new Deno.Command("bash", {
        args: [
          "-c",
          'trap "" XFSZ; ulimit -f 32; exec "$@"',
          "loqa",
          Deno.execPath(),
          ...["run", "-A", "--quiet", main, ...initArgs(folder, out)],
        ],
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const { code, stderr } = await outcome(child);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^loqa: Cannot write ".*\/out\.partial\/.*": File too large[^\n]*\n$/,
      );
      assert.equal(await there(out), false);
    }),
});

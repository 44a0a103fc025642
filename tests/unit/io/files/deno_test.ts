import { lacking } from "../../../helpers/inputs.ts";
import assert from "node:assert/strict";
import {
  exists,
  fileSink,
  fileSize,
  fileSource,
  kindOf,
  listFolder,
  makeFolder,
  readBytes,
  readTextFile,
  remove,
  rename,
  writeFileAtomic,
} from "../../../../src/io/files/deno.ts";
import { IoError } from "../../../../src/io/files/errors.ts";
import { inFolder, namesIn, rejects } from "../helpers.ts";

const bytes = (s: string) => new TextEncoder().encode(s);

Deno.test("fileSink() puts the whole file in place when closed", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/f`;
    await Deno.writeTextFile(path, "old");
    await using sink = await fileSink(path);
    await sink.write(bytes("ne"));
    await sink.sync();
    assert.equal(await readTextFile(path), "old");
    await sink.write(bytes("w"));
    assert.equal(sink.size, 3);
    await sink.close();
    assert.equal(await readTextFile(path), "new");
    assert.deepEqual(await namesIn(folder), ["f"]);
  });
});

Deno.test("fileSink() leaves the target as it was without closing", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/f`;
    await Deno.writeTextFile(path, "old");
    {
      await using sink = await fileSink(path);
      await sink.write(bytes("new"));
    }
    assert.equal(await readTextFile(path), "old");
    assert.deepEqual(await namesIn(folder), ["f"]);
  });
});

Deno.test("fileSink() goes on with a part file, cut to what is asked", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/f`;
    {
      await using sink = await fileSink(path, { resumeAt: 0 });
      await sink.write(bytes("abcdef"));
    }
    assert.deepEqual(await namesIn(folder), ["f.part"]);
    await using sink = await fileSink(path, { resumeAt: 3 });
    assert.equal(sink.size, 3);
    await sink.write(bytes("xyz"));
    await sink.close();
    assert.equal(await readTextFile(path), "abcxyz");
  });
});

Deno.test("fileSink() does not go on beyond the part file", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/f`;
    await Deno.writeTextFile(`${path}.part`, "ab");
    await rejects(
      () => fileSink(path, { resumeAt: 3 }),
      RangeError,
      path,
      "3",
      "2",
    );
    assert.equal(await readTextFile(`${path}.part`), "ab");
  });
});

Deno.test("files that are not there or not files are named in one line", async () => {
  await inFolder(async (folder) => {
    const none = `${folder}/none`;
    for (
      const work of [fileSource, readBytes, readTextFile, listFolder] as ((
        path: string,
      ) => Promise<unknown>)[]
    ) {
      await rejects(() => work(none), IoError, none, "no such file");
    }
    await rejects(() => fileSource(folder), IoError, folder, "folder");
    await rejects(() => writeFileAtomic(`${none}/f`, "x"), IoError, none);
    await rejects(() => rename(none, `${folder}/f`), IoError, none);
    const error = await fileSource(none).catch((e) => e);
    assert.ok(error.cause instanceof Deno.errors.NotFound);
    assert.ok(!error.message.includes("\n"));
  });
});

/** Output of a program that writes to `path`; with all permissions, which a test has not, and a device wants. */
async function writing(path: string): Promise<string> {
  const io = new URL("../../../../src/io/files/deno.ts", import.meta.url).href;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-check", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(
    `import { writeFileAtomic } from ${JSON.stringify(io)};
    await writeFileAtomic(${JSON.stringify(path)}, "x")
      .then(() => console.log("written"), (e) => console.log(e.name, e.message));`,
  ));
  await writer.close();
  return new TextDecoder().decode((await child.output()).stdout).trim();
}

const full = Deno.build.os === "linux";

Deno.test({
  name: `a full disk is told as such${lacking(full, "/dev/full")}`,
  ignore: !full,
  async fn() {
    await inFolder(async (folder) => {
      const path = `${folder}/f`;
      await Deno.symlink("/dev/full", `${path}.part`);
      assert.equal(
        await writing(path),
        `IoError Cannot write "${path}": the disk is full`,
      );
      assert.equal(await exists(path), false);
    });
  },
});

Deno.test("folders can be made, listed, renamed and removed", async () => {
  await inFolder(async (folder) => {
    await makeFolder(`${folder}/a/b`);
    await makeFolder(`${folder}/a/b`);
    await writeFileAtomic(`${folder}/a/f`, Uint8Array.of(1, 2));
    await Deno.symlink(`${folder}/a/f`, `${folder}/a/link`);
    await Deno.symlink(`${folder}/nowhere`, `${folder}/a/lost`);
    assert.deepEqual(await listFolder(`${folder}/a`), [
      { name: "b", isFile: false, isFolder: true },
      { name: "f", isFile: true, isFolder: false },
      {
        name: "link",
        linked: await Deno.realPath(`${folder}/a/f`),
        isFile: true,
        isFolder: false,
      },
    ]);
    assert.equal(await kindOf(`${folder}/a`), "folder");
    assert.equal(await kindOf(`${folder}/a/f/x`), undefined);
    assert.equal(await fileSize(`${folder}/a/f`), 2);
    assert.equal(await fileSize(`${folder}/a`), undefined);
    await rename(`${folder}/a`, `${folder}/c`);
    await remove(`${folder}/c`);
    await remove(`${folder}/c`);
    assert.deepEqual(await listFolder(folder), []);
  });
});

Deno.test("fileSource() notices a file that shrank", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/f`;
    await Deno.writeTextFile(path, "abcdef");
    await using source = await fileSource(path);
    await Deno.truncate(path, 2);
    await rejects(() => source.read(0, 6), IoError, path, "ended");
  });
});

Deno.test("readTextFile() refuses what is no text", async () => {
  await inFolder(async (folder) => {
    await Deno.writeFile(`${folder}/f`, Uint8Array.of(0xff));
    await rejects(
      () => readTextFile(`${folder}/f`),
      SyntaxError,
      folder,
      "UTF-8",
    );
  });
});

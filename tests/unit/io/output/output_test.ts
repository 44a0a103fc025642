import assert from "node:assert/strict";
import { IoError } from "../../../../src/io/files/errors.ts";
import { lockFolder } from "../../../../src/io/output/lock.ts";
import {
  openOutput,
  type OutputOptions,
  settledPath,
} from "../../../../src/io/output/output.ts";
import { inFolder, readTree } from "../../../helpers/model.ts";

const FOLDER: OutputOptions = { verb: "merge", kind: "folder" };

/** Writes a result of one file to `out`. */
async function write(
  out: string,
  text: string,
  options: Partial<OutputOptions> = {},
): Promise<void> {
  await using output = await openOutput(out, { ...FOLDER, ...options });
  await output.begin();
  await Deno.mkdir(output.result);
  await Deno.writeTextFile(`${output.result}/f`, text);
  await output.settle();
}

const text = (path: string) => Deno.readTextFile(path);
const tree = async (folder: string) => [...(await readTree(folder)).keys()];

Deno.test("a result appears whole at its place, and nothing beside it is left", () =>
  inFolder(async (folder) => {
    await write(`${folder}/new/out/`, "new");
    await Deno.mkdir(`${folder}/empty`);
    await write(`${folder}/empty`, "filled");
    assert.deepEqual(await tree(folder), ["empty/f", "new/out/f"]);
    const names = await Array.fromAsync(Deno.readDir(`${folder}/new`));
    assert.deepEqual(names.map(({ name }) => name), ["out"]);
  }));

Deno.test("what fails leaves nothing, and the same again works", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    await assert.rejects(async () => {
      await using output = await openOutput(out, FOLDER);
      await output.begin();
      await Deno.mkdir(`${output.result}/half`, { recursive: true });
      throw new Error("lost");
    }, { message: "lost" });
    assert.deepEqual(await Array.fromAsync(Deno.readDir(folder)), []);
    await write(out, "whole");
    assert.equal(await text(`${out}/f`), "whole");
  }));

Deno.test("what is there is refused and left alone; it is replaced where that is asked for", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    await write(out, "old");
    await assert.rejects(write(out, "new"), {
      name: "RangeError",
      message:
        `Cannot write to ${out}: it is there already; wanted a new folder`,
    });
    await Deno.writeTextFile(`${folder}/file`, "mine");
    await assert.rejects(
      write(`${folder}/file`, "new", { occupied: "replace" }),
      /file: it is there already; wanted a new folder$/,
    );
    assert.deepEqual(await tree(folder), ["file", "out/f"]);
    await write(out, "new", { occupied: "replace" });
    assert.equal(await text(`${out}/f`), "new");
    assert.deepEqual(await tree(folder), ["file", "out/f"]);
  }));

Deno.test("a folder that holds what is read is not replaced", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    await write(out, "model");
    await Deno.symlink(out, `${folder}/link`);
    for (const read of [out, `${out}/f`, `${folder}/link/f`]) {
      await assert.rejects(
        write(out, "new", { occupied: "replace", reads: [read] }),
        /, which is read, is in it; wanted a new folder$/,
      );
    }
    await Deno.mkdir(`${folder}/out2`);
    await write(out, "new", {
      occupied: "replace",
      reads: [`${folder}/out2`, `${folder}/absent`, "hf:a/b"],
    });
    assert.equal(await text(`${out}/f`), "new");
  }));

Deno.test("neighbours that loqa did not make are not touched", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    await Deno.mkdir(`${folder}/elsewhere`);
    const makers: (() => Promise<void>)[] = [
      async () => {
        await Deno.mkdir(`${out}.partial`);
        await Deno.writeTextFile(`${out}.partial/thesis`, "years");
      },
      () => Deno.writeTextFile(`${out}.partial`, "a file"),
      () => Deno.symlink(`${folder}/elsewhere`, `${out}.partial`),
      () => Deno.symlink(`${folder}/nowhere`, `${out}.partial`),
    ];
    for (const make of makers) {
      await make();
      const names = async () =>
        (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name)
          .sort();
      const before = await names();
      await assert.rejects(write(out, "new"), (error) => {
        assert.ok(error instanceof IoError);
        assert.match(
          error.message,
          /out\.partial", where the work would be done, is there already, and loqa did not make it; move it, or write to another place$/,
        );
        return true;
      });
      assert.deepEqual(await names(), before);
      await Deno.remove(`${out}.partial`, { recursive: true });
    }
    await Deno.mkdir(`${out}.replaced`);
    await Deno.writeTextFile(`${out}.replaced/mine`, "mine");
    await write(out, "new");
    assert.deepEqual(await tree(folder), ["out.replaced/mine", "out/f"]);
  }));

Deno.test("links are followed: what they lead to is written, one to nothing is refused before the work", () =>
  inFolder(async (folder) => {
    await Deno.mkdir(`${folder}/real`);
    await Deno.symlink(`${folder}/real`, `${folder}/out`);
    await write(`${folder}/out`, "new");
    assert.ok((await Deno.lstat(`${folder}/out`)).isSymlink);
    assert.equal(await text(`${folder}/real/f`), "new");
    await Deno.symlink(`${folder}/nowhere`, `${folder}/lost`);
    await assert.rejects(
      openOutput(`${folder}/lost`, FOLDER),
      /lost: it is a link to .*\/nowhere, and nothing is there$/,
    );
  }));

Deno.test("two writers at once: one is refused, by either name of the place", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    await Deno.mkdir(`${folder}/a`);
    await Deno.symlink(`${folder}/a`, `${folder}/b`);
    await using first = await openOutput(`${folder}/a/out`, FOLDER);
    for (const path of [`${folder}/a/out`, `${folder}/b/out/`]) {
      await assert.rejects(
        openOutput(path, { ...FOLDER, verb: "export" }),
        new RegExp(`process ${Deno.pid} .*\\(merge, since .* writes there`),
      );
    }
    await first.begin();
    await Deno.mkdir(first.result);
    await first.settle();

    await write(out, "old");
    await using _ = await lockFolder(out, "train");
    await assert.rejects(
      openOutput(out, { ...FOLDER, occupied: "replace" }),
      new RegExp(`process ${Deno.pid} .*\\(train, since .* writes there`),
    );
    assert.equal(await text(`${out}/f`), "old");
  }));

Deno.test("a place that another process filled meanwhile is not overwritten", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    await assert.rejects(async () => {
      await using output = await openOutput(out, FOLDER);
      await output.begin();
      await Deno.mkdir(output.result);
      await Deno.mkdir(out);
      await Deno.writeTextFile(`${out}/theirs`, "theirs");
      await output.settle();
    }, /out: it was made by another process meanwhile$/);
    assert.deepEqual(await tree(folder), ["out/theirs"]);
  }));

Deno.test("what an interrupted run left is kept until another one begins, and not taken by another verb", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    const asked = { verb: "init", kind: "folder", resumable: true } as const;
    const init = { ...asked, unfinished: "take" } as const;
    {
      await using output = await openOutput(out, asked);
      assert.equal(output.unfinished, false);
      await output.begin();
      await Deno.mkdir(output.result);
      await Deno.writeTextFile(`${output.work}/journal.json`, "{}");
    }
    const left = await tree(folder);
    assert.ok(left.includes("out.partial/journal.json"));
    {
      // Refused before it began.
      await using output = await openOutput(out, init);
      assert.equal(output.unfinished, true);
    }
    assert.deepEqual(await tree(folder), left);
    // Nobody has said whether it is gone on with.
    await assert.rejects(
      openOutput(out, asked),
      /out\.partial is the work of an interrupted init; the same command with --resume continues it, with --force it starts anew$/,
    );
    assert.deepEqual(await tree(folder), left);
    await assert.rejects(
      openOutput(out, FOLDER),
      /out\.partial is the work of an interrupted init; end that with --resume, or remove it$/,
    );
    assert.deepEqual(await tree(folder), left);
    {
      await using output = await openOutput(out, init);
      await output.begin(true);
      await output.settle();
    }
    assert.equal((await Deno.stat(out)).isDirectory, true);
    assert.deepEqual(await tree(folder), []);
  }));

Deno.test("a run that was cut off between its two renames: the new is read where it is, and put in its place by the next run", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    const work = `${out}.partial`;
    const cutOff = async (...names: string[]) => {
      await Deno.mkdir(work);
      await Deno.writeTextFile(`${work}/partial.json`, '{"verb":"init"}');
      for (const name of names) {
        if (name === "placing") await Deno.writeTextFile(`${work}/placing`, "");
        else {
          await Deno.mkdir(`${work}/${name}`);
          await Deno.writeTextFile(`${work}/${name}/f`, name);
        }
      }
    };
    for (
      const [left, found] of [
        [["placing", "replaced", "result"], "result"],
        // While it was tried whether the place can be replaced.
        [["replaced"], "replaced"],
      ] as const
    ) {
      await cutOff(...left);
      assert.equal(await text(`${await settledPath(out)}/f`), found);
      await assert.rejects(write(out, "new"), /it is there already/);
      assert.equal(await text(`${out}/f`), found);
      assert.deepEqual(await tree(folder), ["out/f"]);
      await Deno.remove(out, { recursive: true });
    }
    // The renames were done, the cleaning was not.
    await write(out, "whole");
    await cutOff("placing", "replaced");
    assert.equal(await settledPath(out), out);
    await assert.rejects(write(out, "new"), /it is there already/);
    assert.equal(await text(`${out}/f`), "whole");
    assert.deepEqual(await tree(folder), ["out/f"]);
  }));

Deno.test("a right to write the place that is not there is asked for before the work", () =>
  inFolder(async (folder) => {
    const code = `
      import { openOutput } from ${
      JSON.stringify(import.meta.resolve("../../../../src/io/output/output.ts"))
    };
      await openOutput(${JSON.stringify(`${folder}/out`)}, ${
      JSON.stringify(FOLDER)
    });`;
    const main = `${folder}/main.ts`;
    await Deno.writeTextFile(main, code);
    const { code: exit, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--no-prompt", "--no-check", "-R"],
        ...[`-W=${folder}/out.partial`, main],
      ],
      stderr: "piped",
    }).output();
    assert.equal(exit, 1);
    assert.match(
      new TextDecoder().decode(stderr),
      /Cannot write ".*\/out": not permitted: /,
    );
    await Deno.remove(main);
    assert.deepEqual(await Array.fromAsync(Deno.readDir(folder)), []);
  }));

Deno.test("rights to the place and the folder beside it are enough, to the end and to replace", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    const main = `${folder}/main.ts`;
    await Deno.writeTextFile(
      main,
      `
      import { openOutput } from ${
        JSON.stringify(
          import.meta.resolve("../../../../src/io/output/output.ts"),
        )
      };
      for (const text of ["old", "new"]) {
        await using output = await openOutput(${JSON.stringify(out)}, {
          verb: "init", kind: "folder", occupied: "replace",
        });
        await output.begin();
        await Deno.mkdir(output.result);
        await Deno.writeTextFile(output.result + "/f", text);
        await output.settle();
      }`,
    );
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--no-prompt", "--no-check"],
        ...[`-R=${out},${out}.partial`, `-W=${out},${out}.partial`, main],
      ],
      stderr: "piped",
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    await Deno.remove(main);
    assert.deepEqual(await tree(folder), ["out/f"]);
    assert.equal(await text(`${out}/f`), "new");
  }));

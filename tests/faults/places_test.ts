import assert from "node:assert/strict";
import {
  comparable,
  inFolder,
  readTree,
  tinyLlama,
  writeModel,
} from "../helpers/model.ts";
import { outcome, spawnLoqa } from "../helpers/cli.ts";
import { CAN_MOUNT, mounted, needingMount } from "./disk.ts";
import {
  assertSame,
  failsWith,
  initArgs,
  succeeds,
  there,
  untilLayers,
  withModel,
} from "./work.ts";
import { withTrainable } from "./train_work.ts";

Deno.test("a trained adapter is refused by init, and named before --force replaces it", () =>
  withModel(async (folder) => {
    const out = `${folder}/out`;
    await succeeds(initArgs(folder, out));
    // As training leaves it.
    const report = JSON.parse(await Deno.readTextFile(`${out}/loqa.json`));
    await Deno.writeTextFile(
      `${out}/loqa.json`,
      JSON.stringify({ ...report, train: { steps: 3 } }),
    );
    await Deno.mkdir(`${out}/runs/1`, { recursive: true });
    await Deno.writeTextFile(`${out}/notes.txt`, "mine");
    const before = await readTree(folder);
    await failsWith(
      initArgs(folder, out, "--format", "int2"),
      /^loqa: Cannot write to .*\/out: it is there already: it holds a trained model, notes\.txt, runs\/ \(1 in it\); write to another folder, or say --force to replace it$/m,
    );
    assert.deepEqual(await readTree(folder), before);
    const { stderr } = await succeeds(
      initArgs(folder, out, "--format", "int2", "--force"),
    );
    assert.match(
      stderr,
      /^replaces .*\/out when it is done: a trained model, notes\.txt, runs\/ \(1 in it\) will be gone$/m,
    );
    assert.equal(await there(`${out}/notes.txt`), false);
  }));

Deno.test("init does not replace the folder that it reads, by whatever name", () =>
  withModel(async (folder) => {
    const out = `${folder}/out`;
    await succeeds(initArgs(folder, out));
    await Deno.symlink(out, `${folder}/link`);
    const before = await readTree(out);
    for (const place of [out, `${folder}/link`]) {
      await failsWith(
        [
          ...["init", `${out}/backbone`, "-o", place, "--force"],
          ...["--quiet", "--rank", "2"],
        ],
        /, which is read, is in it; wanted a new folder$/m,
      );
      assert.deepEqual(await readTree(out), before);
    }
  }));

Deno.test({
  name: needingMount(
    "a mount point is refused before the work, with what to do",
  ),
  ignore: !CAN_MOUNT,
  fn: () =>
    withModel(async (folder) => {
      const out = `${folder}/disk`;
      await using _disk = await mounted(out, "8m");
      await failsWith(
        initArgs(folder, out),
        /^loqa: Cannot write to .*\/disk: it could not be replaced by the result \(it is a mount point, or in use\); write to a folder in it$/m,
      );
      assert.equal(await there(`${out}.partial`), false);
      await succeeds(initArgs(folder, `${out}/in`));
    }),
});

Deno.test("a link out of the model's folder is not followed into the result; one into a cache of the hub is", () =>
  inFolder(async (folder) => {
    const model = `${folder}/model`;
    await writeModel(model, tinyLlama());
    await Deno.writeTextFile(`${folder}/secret`, "password");
    await Deno.symlink(`${folder}/secret`, `${model}/vocab.secret`);
    const args = (out: string) => [
      ...["init", model, "-o", `${folder}/${out}`, "--quiet", "--rank", "2"],
    ];
    await failsWith(
      args("a"),
      /^loqa: Cannot take vocab\.secret of .*\/model along: it is a link to ".*\/secret", outside of the model's folder; put the file itself there$/m,
    );
    assert.equal(await there(`${folder}/a`), false);
    assert.equal(await there(`${folder}/a.partial`), false);
    await Deno.remove(`${model}/vocab.secret`);
    const blobs = `${folder}/models--x--y/blobs`;
    await Deno.mkdir(blobs, { recursive: true });
    const blob = `${blobs}/${"0a".repeat(20)}`;
    await Deno.writeTextFile(blob, "{}");
    await Deno.symlink(blob, `${model}/vocab.json`);
    await Deno.writeTextFile(`${model}/inside`, "{}");
    await Deno.symlink("inside", `${model}/tokenizer_extra.json`);
    await succeeds(args("b"));
    assert.equal(
      await Deno.readTextFile(`${folder}/b/backbone/vocab.json`),
      "{}",
    );
    assert.ok(
      !(await Deno.lstat(`${folder}/b/backbone/vocab.json`)).isSymlink,
    );
  }));

/** Interrupts a run of init after some layers. */
async function interrupt(folder: string, out: string): Promise<void> {
  const child = spawnLoqa(initArgs(folder, out));
  await untilLayers(child, out, 6);
  child.kill("SIGKILL");
  await outcome(child);
}

Deno.test("--resume with a model that was changed beyond the first rows is refused", () =>
  withModel(async (folder) => {
    const out = `${folder}/out`;
    await interrupt(folder, out);
    const before = await readTree(`${out}.partial`);
    const weights = `${folder}/model/model.safetensors`;
    const bytes = await Deno.readFile(weights);
    // The last bytes are of no first row.
    bytes.fill(0, bytes.length - 64);
    await Deno.writeFile(weights, bytes);
    await failsWith(
      initArgs(folder, out, "--resume"),
      /^loqa: Cannot resume: .*journal\.json is of a run with other options, another model, device or version; run with --force, without --resume, to start anew$/m,
    );
    const after = await readTree(`${out}.partial`);
    // What is left of a killed run's lock.
    for (const tree of [before, after]) tree.delete("loqa.lock");
    assert.deepEqual(after, before);
  }));

Deno.test("--resume from files in which a bit has turned starts anew, says so, and ends with the same bytes", () =>
  withModel(async (folder) => {
    await succeeds(initArgs(folder, `${folder}/whole`));
    const whole = await comparable(`${folder}/whole`);
    for (
      const file of [
        "result/backbone/model.safetensors.part",
        "result/adapter/adapter_model.safetensors.part",
        "journal.json",
      ]
    ) {
      const out = `${folder}/out`;
      await interrupt(folder, out);
      const path = `${out}.partial/${file}`;
      const bytes = await Deno.readFile(path);
      if (file === "journal.json") {
        // Bytes that the files take only at their end are kept here.
        const text = new TextDecoder().decode(bytes);
        const at = text.indexOf('"digest":"') + 12;
        bytes[at] = bytes[at] === 0x61 ? 0x62 : 0x61;
      } else bytes[bytes.length >> 2] ^= 1;
      await Deno.writeFile(path, bytes);
      const { stderr } = await succeeds(initArgs(folder, out, "--resume"));
      assert.match(
        stderr,
        /^starts anew: .*journal\.json and the files beside it are not as the interrupted run left them$/m,
      );
      await assertSame(out, whole);
      await Deno.remove(out, { recursive: true });
    }
  }));

Deno.test("init over an interrupted run is refused with both ways on: --resume, and --force, which says what goes", () =>
  withModel(async (folder) => {
    const out = `${folder}/out`;
    await interrupt(folder, out);
    const before = await readTree(out + ".partial");
    await failsWith(
      initArgs(folder, out),
      /^loqa: Cannot write to .*\/out: .*\/out\.partial is the work of an interrupted init; the same command with --resume continues it, with --force it starts anew$/m,
    );
    const after = await readTree(out + ".partial");
    // What is left of a killed run's lock.
    for (const tree of [before, after]) tree.delete("loqa.lock");
    assert.deepEqual(after, before);
    const { stderr } = await succeeds(
      initArgs(folder, out, "--force", "--seed", "1"),
    );
    assert.match(
      stderr,
      /^starts anew: .*\/out\.partial, of an interrupted run, will be gone$/m,
    );
    await succeeds(initArgs(folder, `${folder}/whole`, "--seed", "1"));
    await assertSame(out, await comparable(`${folder}/whole`));
  }));

Deno.test("moments are not written over a file that holds something else", () =>
  withTrainable(async (folder) => {
    const before = await readTree(folder);
    await failsWith(
      [
        ...["init", `${folder}/model`, "-o", `${folder}/out`, "--quiet"],
        ...["--rank", "2", "--metric", "diag", "--device", "wasm"],
        ...["--calib", `${folder}/data.txt`, "--calib-block", "32"],
        ...["--moments", `${folder}/model/model.safetensors`],
      ],
      /^loqa: Cannot write moments to .*model\.safetensors: it is there already and holds something else$/m,
    );
    assert.deepEqual(await readTree(folder), before);
  }));

Deno.test("a merge that cannot be run leaves nothing, and the same command again says the same", () =>
  withModel(async (folder) => {
    await succeeds(initArgs(folder, `${folder}/tuned`));
    const args = [
      ...["merge", `${folder}/tuned`, "-o", `${folder}/out`, "--quiet"],
      ...["--text", `${folder}/nothing.txt`],
    ];
    const before = await readTree(folder);
    for (let i = 0; i < 2; i++) {
      await failsWith(args, /nothing\.txt": no such file or folder$/m);
      assert.deepEqual(await readTree(folder), before);
    }
  }));

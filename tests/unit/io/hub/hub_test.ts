import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { IoError } from "../../../../src/io/files/errors.ts";
import { fetchModel, parseHubId } from "../../../../src/io/hub/hub.ts";
import type { HubOptions } from "../../../../src/io/hub/hub.ts";
import { openFileSet } from "../../../../src/io/recognise.ts";
import { folderFiles } from "../../../../src/io/open.ts";
import { inFolder, namesIn, rawSafetensors, rejects } from "../helpers.ts";

const text = (s: string) => new TextEncoder().encode(s);
const MODEL = rawSafetensors(
  { w: { dtype: "U8", shape: [4096], data_offsets: [0, 4096] } },
  Uint8Array.from({ length: 4096 }, (_, i) => i & 255),
);

interface Seen {
  path: string;
  range: string | null;
  token: string | null;
}

type Answer = (request: Request, path: string) => Response | undefined;

/** A hub with one repository, `o/n`; `answer` may take a request over. */
async function hub(
  contents: Record<string, Uint8Array<ArrayBuffer>>,
  work: (hub: {
    options: HubOptions;
    seen: Seen[];
    set: (answer: Answer) => void;
    stop: () => Promise<void>;
  }) => Promise<void>,
): Promise<void> {
  const seen: Seen[] = [];
  let answer: Answer = () => undefined;
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    (request) => {
      const path = decodeURIComponent(new URL(request.url).pathname);
      const range = request.headers.get("range");
      seen.push({ path, range, token: request.headers.get("authorization") });
      const own = answer(request, path);
      if (own !== undefined) return own;
      if (path === "/api/models/o/n/tree/main") return list(contents);
      const data = contents[path.replace("/o/n/resolve/main/", "")];
      if (data === undefined) return new Response(null, { status: 404 });
      if (range === null) return new Response(data);
      const from = Number(/^bytes=(\d+)-$/.exec(range)![1]);
      return new Response(data.slice(from), {
        status: 206,
        headers: {
          "content-range": `bytes ${from}-${data.length - 1}/${data.length}`,
        },
      });
    },
  );
  let running = true;
  const stop = async () => {
    if (running) await server.shutdown();
    running = false;
  };
  try {
    await inFolder((cache) =>
      work({
        options: {
          cache,
          endpoint: `http://127.0.0.1:${server.addr.port}/`,
          token: "secret",
        },
        seen,
        set: (other) => answer = other,
        stop,
      })
    );
  } finally {
    await stop();
  }
}

function list(contents: Record<string, Uint8Array>): Response {
  return Response.json(entries(contents));
}

function entries(contents: Record<string, Uint8Array>): unknown[] {
  return (Object.entries(contents).map(([path, data]) => {
    const git = createHash("sha1").update(`blob ${data.length}\0`)
      .update(data).digest("hex");
    const sha = createHash("sha256").update(data).digest("hex");
    return {
      type: "file",
      path,
      size: data.length,
      oid: git,
      ...(path.endsWith(".safetensors")
        ? { lfs: { oid: sha, size: data.length, pointerSize: 130 } }
        : {}),
    };
  }));
}

const REPO = {
  "config.json": text(`{"model_type":"tiny"}`),
  "tokenizer.json": text("{}"),
  "README.md": text("# no"),
  "model.safetensors": MODEL,
  "onnx/config.json": text("no"),
  "..\\evil": text("no"),
};

Deno.test("fetchModel() downloads what a model needs, once", async () => {
  await hub(REPO, async ({ options, seen }) => {
    const progress: [string, number, number][] = [];
    const folder = await fetchModel("hf:o/n", {
      ...options,
      onProgress: (...args) => progress.push(args),
    });
    assert.deepEqual(
      (await namesIn(folder)).filter((name) => !name.startsWith(".")),
      ["config.json", "model.safetensors", "tokenizer.json"],
    );
    assert.deepEqual(progress.at(-1), [
      "model.safetensors",
      MODEL.length,
      MODEL.length,
    ]);
    assert.ok(seen.every(({ token }) => token === "Bearer secret"));
    await using model = await openFileSet(await folderFiles(folder));
    assert.equal(model.config.model_type, "tiny");
    assert.equal(model.tensors.get("w")!.bytes, 4096);
    seen.length = 0;
    assert.equal(await fetchModel("hf:o/n", options), folder);
    assert.deepEqual(seen.map(({ path }) => path), [
      "/api/models/o/n/tree/main",
    ]);
  });
});

Deno.test("fetchModel() downloads the chat templates in a folder of their own", async () => {
  const name = "additional_chat_templates/tool use.jinja";
  const contents = { ...REPO, [name]: text("tools") };
  await hub(contents, async ({ options, set }) => {
    const top = { type: "directory", path: "additional_chat_templates" };
    set((_, path) =>
      path === "/api/models/o/n/tree/main"
        ? Response.json([top, ...entries(REPO)])
        : path === `/api/models/o/n/tree/main/${top.path}`
        ? Response.json([
          top,
          ...entries({ [name]: text("tools"), [`${top.path}/x.py`]: text("") }),
        ])
        : undefined
    );
    const folder = await fetchModel("hf:o/n", options);
    assert.equal(await Deno.readTextFile(`${folder}/${name}`), "tools");
    assert.deepEqual(await namesIn(`${folder}/${top.path}`), [
      "tool use.jinja",
    ]);
  });
});

Deno.test("fetchModel() goes on with an interrupted download", async () => {
  await hub(REPO, async ({ options, seen, set }) => {
    let cut = true;
    set((_, path) => {
      if (!path.endsWith("model.safetensors")) return undefined;
      if (!cut) return undefined;
      cut = false;
      let sent = false;
      return new Response(
        new ReadableStream({
          async pull(stream) {
            if (sent) {
              // Lets the first half reach the other side.
              await new Promise((done) => setTimeout(done, 100));
              stream.error(new Error("cut"));
            } else stream.enqueue(MODEL.slice(0, 2000));
            sent = true;
          },
        }),
      );
    });
    await rejects(
      () => fetchModel("hf:o/n", { ...options, retries: 0 }),
      IoError,
      "model.safetensors",
      "run again",
    );
    const folder = `${options.cache}/hub/o--n/main`;
    assert.equal(
      (await Deno.stat(`${folder}/model.safetensors.part`)).size,
      2000,
    );
    seen.length = 0;
    assert.equal(await fetchModel("hf:o/n", options), folder);
    assert.deepEqual(
      seen.filter(({ path }) => path.includes("resolve")).map((
        { path, range },
      ) => [path, range]),
      [["/o/n/resolve/main/model.safetensors", "bytes=2000-"]],
    );
    assert.deepEqual(await Deno.readFile(`${folder}/model.safetensors`), MODEL);
    assert.ok(!(await namesIn(folder)).some((name) => name.endsWith(".part")));
  });
});

Deno.test("fetchModel() takes a broken transfer up again by itself", async () => {
  await hub(REPO, async ({ options, set }) => {
    let failures = 0;
    set((_, path) =>
      path.endsWith(".safetensors") && failures++ < 1
        ? new Response(null, { status: 503 })
        : undefined
    );
    await fetchModel("hf:o/n", options);
    assert.equal(failures, 2);
  });
});

Deno.test("fetchModel() refuses contents that are not those listed", async () => {
  await hub(REPO, async ({ options, set }) => {
    const wrong = MODEL.slice();
    wrong[wrong.length - 1] ^= 1;
    set((_, path) =>
      path.endsWith(".safetensors") ? new Response(wrong) : undefined
    );
    await rejects(
      () => fetchModel("hf:o/n", options),
      IoError,
      "model.safetensors",
      "hash",
    );
    assert.ok(
      !(await namesIn(`${options.cache}/hub/o--n/main`)).some((name) =>
        name.startsWith("model.safetensors")
      ),
    );
    set((_, path) =>
      path.endsWith(".safetensors")
        ? new Response(new Uint8Array(MODEL.length + 1))
        : undefined
    );
    await rejects(() => fetchModel("hf:o/n", options), IoError, "sends more");
  });
});

Deno.test("fetchModel() follows an index, and only to files of the repository", async () => {
  const index = (file: string) =>
    text(JSON.stringify({ weight_map: { w: file } }));
  const repo = {
    "model-1.safetensors": MODEL,
    "model-2.safetensors": MODEL,
    "model.safetensors.index.json": index("model-1.safetensors"),
  };
  await hub(repo, async ({ options }) => {
    const folder = await fetchModel("hf:o/n", options);
    assert.deepEqual(
      (await namesIn(folder)).filter((name) => !name.startsWith(".")),
      ["model-1.safetensors", "model.safetensors.index.json"],
    );
  });
  await hub({
    ...repo,
    "model.safetensors.index.json": index("../../x"),
  }, async ({ options }) => {
    await rejects(() => fetchModel("hf:o/n", options), TypeError, "../../x");
  });
});

Deno.test("fetchModel() wants one GGUF file, or the name of one", async () => {
  await hub(
    { "a.gguf": text("a"), "b.gguf": text("b") },
    async ({ options }) => {
      await rejects(
        () => fetchModel("hf:o/n", options),
        TypeError,
        "a.gguf",
        "b.gguf",
      );
      const path = await fetchModel("hf:o/n/b.gguf", options);
      assert.equal(await Deno.readTextFile(path), "b");
      await rejects(
        () => fetchModel("hf:o/n/c.gguf", options),
        TypeError,
        "c.gguf",
      );
    },
  );
});

Deno.test("fetchModel() tells a missing model from a refused one", async () => {
  await hub({}, async ({ options, set }) => {
    await rejects(
      () => fetchModel("hf:o/n", options),
      TypeError,
      "hf:o/n",
      "no safetensors",
    );
    for (
      const [status, part] of [[404, "no such model"], [
        401,
        "HF_TOKEN",
      ]] as const
    ) {
      set(() => Response.json({ error: "x" }, { status }));
      await rejects(
        () => fetchModel("hf:o/n", { ...options, token: "" }),
        IoError,
        "hf:o/n",
        part,
      );
    }
  });
});

Deno.test("fetchModel() serves a whole earlier download without a network", async () => {
  await hub(REPO, async ({ options, stop }) => {
    const folder = await fetchModel("hf:o/n", options);
    await stop();
    assert.equal(await fetchModel("hf:o/n", options), folder);
    await rejects(() => fetchModel("hf:o/m", options), IoError, "hf:o/m");
  });
});

Deno.test("parseHubId() takes ids apart and refuses paths", () => {
  assert.deepEqual(parseHubId("hf:o/n"), { repo: "o/n", revision: "main" });
  assert.deepEqual(parseHubId("hf:o/n.x-1@v1.0"), {
    repo: "o/n.x-1",
    revision: "v1.0",
  });
  assert.deepEqual(parseHubId("hf:o/n/m.gguf@refs/pr/2"), {
    repo: "o/n",
    revision: "refs/pr/2",
    file: "m.gguf",
  });
  for (
    const id of [
      "hf:",
      "hf:n",
      "o/n",
      "hf:../n",
      "hf:o/..",
      "hf:o/n/../x",
      "hf:o/n@../x",
      "hf:o/n@a//b",
      "hf:o/n?x=1",
      "hf:o/n/.x",
    ]
  ) {
    assert.throws(() => parseHubId(id), RangeError, id);
  }
});

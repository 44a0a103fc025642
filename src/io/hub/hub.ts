/**
 * Models of the Hugging Face hub: `hf:owner/name[@revision]`, downloaded into a cache folder.
 *
 * `HF_ENDPOINT` and `HF_TOKEN` are honoured. Files lie in `$LOQA_CACHE/hub` (else `~/.cache/loqa/hub`) under owner,
 * name and revision; an interrupted download is resumed, and every file is checked against the size and hash that the
 * hub lists.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import { createHash } from "node:crypto";
import {
  environment,
  exists,
  fileSize,
  fileSource,
  joinPath,
  kindOf,
  makeFolder,
  partPath,
  readBytes,
  readTextFile,
  writeFileAtomic,
} from "../files/deno.ts";
import { downloadFile } from "./download.ts";
import { IoError, messageOf, quoted } from "../files/errors.ts";
import { isSideFile } from "../files/files.ts";
import { TEMPLATE_FOLDER, templateOfFile } from "../files/named_templates.ts";
import { patiently, piecesOf, SILENCE, SilentError } from "./http.ts";
import { partNames } from "../files/split.ts";
import { parseJsonObject } from "../files/json.ts";
import { loadPackage } from "../files/package.ts";

/** Options of {@linkcode fetchModel}. */
export interface HubOptions {
  /** Cache folder instead of the default one. */
  readonly cache?: string;
  /** Address of the hub instead of `HF_ENDPOINT` or the public one. */
  readonly endpoint?: string;
  /** Access token instead of `HF_TOKEN`. */
  readonly token?: string;
  /** Retries of a broken transfer (3). */
  readonly retries?: number;
  /** Timeout in milliseconds without data from the hub (half a minute). */
  readonly silence?: number;
  /** Called with the file's bytes so far, after each piece. */
  readonly onProgress?: (file: string, bytes: number, size: number) => void;
}

/** A parsed hub id. */
export interface HubId {
  /** `owner/name`. */
  readonly repo: string;
  /** Branch, tag or commit; `main` where the id names none. */
  readonly revision: string;
  /** One file of the repository, where the id names it. */
  readonly file?: string;
}

/**
 * Takes `hf:owner/name[/file.gguf][@revision]` apart.
 *
 * @throws {RangeError} If `id` is none.
 */
export function parseHubId(id: string): HubId {
  const part = "[A-Za-z0-9_][A-Za-z0-9._-]*";
  const match = new RegExp(
    `^hf:(${part}/${part})(?:/(${part}))?(?:@(${part}(?:/${part})*))?$`,
  ).exec(id);
  if (match === null || id.includes("..")) {
    throw new ValueError(
      `Cannot use ${
        quoted(id)
      }: wanted hf:owner/name, hf:owner/name@revision or hf:owner/name/file.gguf`,
    );
  }
  const [, repo, file, revision = "main"] = match;
  return { repo, revision, ...(file === undefined ? {} : { file }) };
}

/** A file as the hub lists it. */
interface Listed {
  readonly path: string;
  readonly size: number;
  /** `sha256:…` of the contents, or `git:…`, the hash of git's blob of it. */
  readonly hash: string | undefined;
}

/** Name of the list, stored beside the files, of those that are whole and checked. */
const DONE = ".loqa-hub.json";

/**
 * Makes sure that the files of model `id` are in the cache, and gives the path of their folder (or of the one file
 * that `id` names). Without a network, a whole earlier download serves.
 *
 * @throws {RangeError} If `id` is no hub id.
 * @throws {IoError} If the hub cannot be reached, refuses, or sends other bytes than it lists.
 * @throws {TypeError} If the repository holds no model that loqa reads.
 */
export async function fetchModel(
  id: string,
  options: HubOptions = {},
): Promise<string> {
  const { repo, revision, file } = parseHubId(id);
  const cache = options.cache ?? cacheFolder();
  const folder = [
    repo.replace("/", "--"),
    revision.replaceAll("/", "--"),
  ].reduce(joinPath, joinPath(cache, "hub"));
  const done = await readDone(folder);
  const hub = {
    id,
    repo,
    revision,
    endpoint: (options.endpoint ?? environment("HF_ENDPOINT") ??
      "https://huggingface.co").replace(/\/+$/, ""),
    token: options.token ?? environment("HF_TOKEN"),
    silence: options.silence ?? SILENCE,
  };
  let listed: Listed[];
  try {
    listed = await list(hub);
  } catch (error) {
    const whole = file === undefined ? done.get("") : done.get(file);
    const cause = error instanceof IoError ? error.cause : undefined;
    const away = cause instanceof TypeError || cause instanceof SilentError;
    if (away && whole) {
      return file === undefined ? folder : joinPath(folder, file);
    }
    throw error;
  }
  await makeFolder(folder);
  const get = async (entry: Listed): Promise<void> => {
    const path = joinPath(folder, entry.path);
    const state = `${entry.size} ${entry.hash}`;
    if (
      done.get(entry.path) === state && await fileSize(path) === entry.size
    ) return;
    const url = `${hub.endpoint}/${repo}/resolve/${
      encodeURIComponent(revision)
    }/${entry.path.split("/").map(encodeURIComponent).join("/")}`;
    if (entry.path.includes("/")) {
      await makeFolder(joinPath(folder, TEMPLATE_FOLDER));
    }
    await downloadFile(url, path, {
      size: entry.size,
      // Without a hash of its contents a part of an older version could not be recognised.
      resume: entry.hash !== undefined,
      headers: hub.token ? { authorization: `Bearer ${hub.token}` } : {},
      check: () => check(entry, partPath(path)),
      retries: options.retries,
      silence: hub.silence,
      onProgress: (bytes) =>
        options.onProgress?.(entry.path, bytes, entry.size),
    });
    done.set(entry.path, state);
    await writeDone(folder, done);
  };
  if (file !== undefined) {
    // One part of a split model is worth nothing without the others.
    for (const part of partNames(file)) await get(find(listed, part, id));
    return joinPath(folder, file);
  }
  for (const entry of listed.filter(({ path }) => isSideFile(path))) {
    await get(entry);
  }
  for (const path of await weights(listed, { id, folder, get })) {
    await get(find(listed, path, id));
  }
  done.set("", "whole");
  await writeDone(folder, done);
  return folder;
}

function cacheFolder(): string {
  const own = environment("LOQA_CACHE");
  if (own !== undefined) return own;
  const home = environment("HOME") ?? environment("USERPROFILE");
  const base = environment("XDG_CACHE_HOME") ??
    (home === undefined ? undefined : joinPath(home, ".cache"));
  if (base === undefined) {
    throw new ValueError(
      "Cannot find a cache folder: neither LOQA_CACHE nor HOME is set and may be read (--allow-env)",
    );
  }
  return joinPath(base, "loqa");
}

async function readDone(folder: string): Promise<Map<string, string>> {
  const path = joinPath(folder, DONE);
  if (!await exists(path)) return new Map();
  const entries = Object.entries(
    parseJsonObject(await readTextFile(path), path),
  );
  return new Map(entries.map(([name, state]) => [name, `${state}`]));
}

async function writeDone(
  folder: string,
  done: ReadonlyMap<string, string>,
): Promise<void> {
  await writeFileAtomic(
    joinPath(folder, DONE),
    `${JSON.stringify(Object.fromEntries(done), null, 2)}\n`,
  );
}

/** Pages of a list at most, a thousand files each, and bytes of one. */
const MOST_PAGES = 100;
const MOST_PAGE = 2 ** 24;

interface Hub {
  readonly id: string;
  readonly repo: string;
  readonly revision: string;
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly silence: number;
}

/**
 * `fetch` for a list. A page names the address of the next: it may lead anywhere and for ever, so the token goes to
 * the hub alone, and pages are counted.
 */
function listFetch(hub: Hub): typeof fetch {
  const { origin } = new URL(hub.endpoint);
  let pages = 0;
  return async (input, init) => {
    if (++pages > MOST_PAGES) {
      throw new Error(`wanted at most ${MOST_PAGES} pages, it has more`);
    }
    const url = new URL(input instanceof Request ? input.url : input);
    // The library accepts tokens of one shape only, mirrors have others.
    const headers = new Headers(init?.headers);
    headers.delete("authorization");
    if (hub.token && url.origin === origin) {
      headers.set("authorization", `Bearer ${hub.token}`);
    }
    const stop = new AbortController();
    const response = await patiently(
      fetch(input, { ...init, headers, signal: stop.signal }),
      { limit: hub.silence, stop: () => stop.abort() },
    );
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    for await (const piece of piecesOf(response, hub.silence)) {
      parts.push(piece);
      size += piece.length;
      if (size > MOST_PAGE) {
        throw new Error(`wanted at most ${MOST_PAGE} bytes a page, got more`);
      }
    }
    return new Response(size === 0 ? null : new Blob(parts), response);
  };
}

/** The files at the top of a repository whose names can be trusted to stay in one folder, and the chat templates in another. */
async function list(hub: Hub): Promise<Listed[]> {
  const { listFiles } = await loadPackage(
    "@huggingface/hub",
    () => import("npm:@huggingface/hub@2.17.5"),
  );
  const found: Listed[] = [];
  const add = async (folder?: string): Promise<void> => {
    const files = listFiles({
      repo: hub.repo,
      revision: encodeURIComponent(hub.revision),
      path: folder,
      hubUrl: hub.endpoint,
      fetch: listFetch(hub),
    });
    for await (const { type, path, size, oid, lfs } of files) {
      if (
        type === "directory" && path === TEMPLATE_FOLDER && folder === undefined
      ) await add(path);
      const isOwn = folder === undefined
        ? /^[^./\\:\0][^/\\:\0]*$/.test(path)
        : templateOfFile(path) !== undefined;
      if (type !== "file" || !isOwn) continue;
      const hash = lfs?.oid
        ? `sha256:${lfs.oid.replace(/^sha256:/, "")}`
        : oid && `git:${oid}`;
      found.push({ path, size: lfs?.size ?? size, hash });
    }
  };
  try {
    await add();
  } catch (cause) {
    const status = (cause as { statusCode?: number }).statusCode;
    const reason = status === 404
      ? "the hub has no such model or revision"
      : status === 401 || status === 403
      ? `access refused (${status})${
        hub.token ? "" : "; a private or gated model needs HF_TOKEN"
      }`
      : messageOf(cause);
    throw new IoError(
      `Cannot list ${quoted(hub.id)} on ${hub.endpoint}: ${reason}`,
      hub.id,
      cause,
    );
  }
  return found;
}

function find(listed: readonly Listed[], path: string, id: string): Listed {
  const entry = listed.find((entry) => entry.path === path);
  if (entry === undefined) {
    throw new KindError(
      `Cannot open ${quoted(id)}: its repository has no ${quoted(path)}`,
    );
  }
  return entry;
}

/** Files with the weights. */
async function weights(
  listed: readonly Listed[],
  { id, folder, get }: {
    id: string;
    folder: string;
    get: (entry: Listed) => Promise<void>;
  },
): Promise<string[]> {
  const has = (path: string) => listed.some((entry) => entry.path === path);
  for (const kind of ["model.safetensors", "pytorch_model.bin"]) {
    const index = `${kind}.index.json`;
    if (has(kind)) return [kind];
    if (!has(index)) continue;
    await get(find(listed, index, id));
    const { weight_map: map } = parseJsonObject(
      await readBytes(joinPath(folder, index)),
      `${id}/${index}`,
    );
    return [...new Set(Object.values(map ?? {}).map(String))].sort();
  }
  const ggufs = listed.filter(({ path }) => path.endsWith(".gguf"));
  const models = new Set(ggufs.map(({ path }) => partNames(path)[0]));
  if (models.size === 1) return partNames(ggufs[0].path);
  throw new KindError(
    ggufs.length === 0
      ? `Cannot open ${
        quoted(id)
      }: its repository has no safetensors, torch or GGUF weights`
      : `Cannot open ${
        quoted(id)
      }: its repository has ${ggufs.length} .gguf files, name one of them: ${
        ggufs.slice(0, 8).map(({ path }) => path).join(", ")
      }`,
  );
}

/** Difference of the file at `path` from the hub's list; undefined if there is none. */
async function check(
  { size, hash }: Listed,
  path: string,
): Promise<string | undefined> {
  if (await kindOf(path) !== "file") return "it is missing";
  await using source = await fileSource(path);
  if (source.size !== size) {
    return `wanted ${size} bytes, got ${source.size}`;
  }
  if (hash === undefined) return undefined;
  const [kind, wanted] = hash.split(":");
  const hasher = createHash(kind === "git" ? "sha1" : "sha256");
  if (kind === "git") hasher.update(`blob ${size}\0`);
  for (let at = 0; at < size; at += 1 << 22) {
    hasher.update(await source.read(at, Math.min(1 << 22, size - at)));
  }
  const got = hasher.digest("hex");
  return got === wanted ? undefined : `wanted hash ${wanted}, got ${got}`;
}

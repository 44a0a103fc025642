/**
 * Paths as text: absolute, relative to a folder, and as stored in a file that may be moved with its folder.
 *
 * @module
 */

const ROOT = /^([A-Za-z]:)?[\\/]/;

/** True if a path does not depend on the working folder: `/a`, `C:\a`, and ids of the hub. */
export function isAbsolute(path: string): boolean {
  return ROOT.test(path) || path.startsWith("hf:");
}

/** A path without `.`, `..` and doubled slashes, and without a slash at its end. */
export function normalPath(path: string): string {
  if (path.startsWith("hf:")) return path;
  const root = ROOT.exec(path)?.[0] ?? "";
  const parts: string[] = [];
  for (const part of path.slice(root.length).split(/[\\/]+/)) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (root === "") parts.push(part);
  }
  return root + parts.join("/") || ".";
}

/** The folder that holds `path`, and its name there. */
export function splitPath(path: string): { folder: string; name: string } {
  const whole = normalPath(path);
  const at = Math.max(whole.lastIndexOf("/"), whole.lastIndexOf("\\"));
  return at < 0
    ? { folder: ".", name: whole }
    : { folder: whole.slice(0, at) || "/", name: whole.slice(at + 1) };
}

/** The absolute path `to` as seen from the folder `from`, itself absolute. */
export function relativePath(from: string, to: string): string {
  const a = normalPath(from).split("/");
  const b = normalPath(to).split("/");
  let same = 0;
  while (same < a.length && same < b.length && a[same] === b[same]) same++;
  const up = a.slice(same).map(() => "..");
  return [...up, ...b.slice(same)].join("/") || ".";
}

/** True if the absolute path `path` is `folder` or in it. */
export function isInside(path: string, folder: string): boolean {
  const [inner, outer] = [normalPath(path), normalPath(folder)];
  return inner === outer || inner.startsWith(`${outer.replace(/\/$/, "")}/`);
}

/**
 * `path` as stored in a file of the folder `at`: relative to that folder where both are inside `home`, which may be
 * moved as a whole; absolute elsewhere. All three are absolute.
 */
export function storedPath(
  path: string,
  { at, home }: { at: string; home: string },
): string {
  return !path.startsWith("hf:") && isInside(path, home)
    ? relativePath(at, path)
    : normalPath(path);
}

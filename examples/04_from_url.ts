/**
 * From a URL, without a permission: serve this folder's parent and run the file from there.
 *
 *     npx --yes http-server -p 8000 .        (or any other file server)
 *     deno run http://localhost:8000/examples/04_from_url.ts
 */

import { matrix, openDevice, quantize, Random, svd } from "../mod.ts";

using device = await openDevice("auto", { onWarning: console.error });
const weight = matrix(96, 160, new Random(7).normals(96 * 160));
const q = await quantize(weight, { format: "int3", scale: "mse", device });
const { s } = await svd(weight, { rank: 4, device });
console.log(
  `${device.description}: ${q.codes.length} bytes of int3 codes, singular values ${
    [...s].map((x) => x.toFixed(2)).join(" ")
  }`,
);

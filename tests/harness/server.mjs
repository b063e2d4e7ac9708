// A static server on this machine alone: the built page, the demo's data and, for the harness, a
// shelf where the page and we exchange whole files.

import { createServer } from 'node:http';
import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { join, normalize, sep } from 'node:path';
import mime from 'mime';

/**
 * Serves `folders`, a map from URL prefix to folder or file, longest prefix first, and with `shelf`
 * (a folder) also GET and PUT below /shelf/. `isolated` sends the two headers without which a page
 * gets no shared memory. Resolves to `{ url, close }` once it listens.
 */
export async function serve({ folders, shelf, isolated = true, port = 0 }) {
  const prefixes = Object.keys(folders).sort((a, b) => b.length - a.length);
  const locate = (path) => {
    const prefix = prefixes.find((candidate) => path.startsWith(candidate));
    if (prefix === undefined) return undefined;
    return inside(folders[prefix], path.slice(prefix.length));
  };

  const answer = async (request, response) => {
    const headers = {
      'cache-control': 'no-store',
      'cross-origin-resource-policy': 'same-origin',
    };
    if (isolated) {
      headers['cross-origin-opener-policy'] = 'same-origin';
      headers['cross-origin-embedder-policy'] = 'require-corp';
    }
    const end = (status) => response.writeHead(status, headers).end();
    let path;
    try {
      path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    } catch {
      return end(400);
    }
    const shelved = shelf !== undefined && path.startsWith('/shelf/');
    let file = shelved ? inside(shelf, path.slice('/shelf/'.length)) : locate(path);
    if (file === undefined) return end(404);
    if (request.method === 'PUT' && shelved) {
      await pipeline(request, createWriteStream(file));
      return end(204);
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') return end(405);
    let found = await stat(file).catch(() => undefined);
    if (found?.isDirectory()) {
      file = join(file, 'index.html');
      found = await stat(file).catch(() => undefined);
    }
    if (!found?.isFile()) return end(404);
    headers['content-type'] = mime.getType(file) ?? 'application/octet-stream';
    headers['content-length'] = found.size;
    response.writeHead(200, headers);
    if (request.method === 'HEAD') return response.end();
    return pipeline(createReadStream(file), response);
  };

  const server = createServer((request, response) => {
    // A page that goes away in the middle of an answer is no error of ours.
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}

/** `relative` below `folder`, or undefined where it would leave it. */
function inside(folder, relative) {
  const path = normalize(join(folder, relative));
  const base = normalize(folder);
  return path === base || path.startsWith(base.endsWith(sep) ? base : base + sep)
    ? path
    : undefined;
}

// Building with cargo, natively and for the browser.

import { existsSync, mkdirSync, readdirSync, copyFileSync, rmSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { dist, root } from './paths.mjs';
import { output, run } from './process.mjs';

/** The target triple of everything that runs in a browser. */
export const WASM = 'wasm32-unknown-unknown';
/** The package that is linked into the browser's module; it is built for WASM only. */
export const WEB_PACKAGE = 'littoral-www';

let metadata;

async function workspace() {
  metadata ??= JSON.parse(
    await output('cargo', ['metadata', '--format-version', '1', '--no-deps', '--locked']),
  );
  return metadata;
}

/** Whether the workspace has a package of this name. */
export async function hasPackage(name) {
  return (await workspace()).packages.some((found) => found.name === name);
}

/** The version of a package of the workspace. */
export async function version(name) {
  return (await workspace()).packages.find((found) => found.name === name).version;
}

/** The folder for builds of a kind of their own, below the one that cargo uses here. */
export async function targetFolder(name) {
  return join((await workspace()).target_directory, name);
}

/** What a build for WASM needs in its environment, from setup.sh's answers. */
export function wasmEnv(tools) {
  return tools.WASM_RUSTC === undefined
    ? {}
    : { RUSTC: tools.WASM_RUSTC, RUSTDOC: tools.WASM_RUSTDOC };
}

/** Builds one native program, in a profile of Cargo.toml, and gives its path. */
export async function program(packageName, bin, { profile = 'dev' } = {}) {
  if (!(await hasPackage(packageName))) {
    throw new Error(`this tree has no package ${packageName}`);
  }
  const args = ['build', '--locked', '--package', packageName, '--bin', bin];
  args.push('--profile', profile);
  args.push('--message-format', 'json-render-diagnostics');
  let path;
  const onLine = (line) => {
    const message = line.startsWith('{') ? JSON.parse(line) : {};
    if (message.reason === 'compiler-artifact' && message.executable) path = message.executable;
  };
  const { status } = await run('cargo', args, { onLine });
  if (status !== 0 || path === undefined) throw new Error(`${bin} does not build`);
  return path;
}

/** Builds the tests of packages and gives their programs, as `{ name, path }`. */
export async function tests(packages) {
  const args = ['test', '--locked', '--no-run', '--message-format', 'json-render-diagnostics'];
  for (const each of packages) args.push('--package', each);
  const found = [];
  const onLine = (line) => {
    const message = line.startsWith('{') ? JSON.parse(line) : {};
    if (message.reason !== 'compiler-artifact' || !message.profile.test) return;
    // A library's own tests have its name.
    found.push({ name: message.target.name, path: message.executable });
  };
  const { status } = await run('cargo', args, { onLine });
  if (status !== 0 || found.length === 0) throw new Error(`tests of ${packages} do not build`);
  return found;
}

/** Writes the glue of a module that was built for WASM. */
async function bind(tools, name, folder) {
  const target = (await workspace()).target_directory;
  const { status } = await run(tools.WASM_BINDGEN, [
    '--target',
    'web',
    '--no-typescript',
    '--out-dir',
    folder,
    '--out-name',
    name,
    join(target, WASM, 'web', `${name}.wasm`),
  ]);
  if (status !== 0) throw new Error(`wasm-bindgen ended with ${status}`);
}

/** Builds a whole program for the browser, beside the page that `web` has laid out. */
export async function webProgram(tools, name) {
  const { status } = await run(
    'cargo',
    ['build', '--locked', '--package', name, '--bin', name, '--target', WASM, '--profile', 'web'],
    { env: wasmEnv(tools) },
  );
  if (status !== 0) throw new Error(`${name} does not build for ${WASM}`);
  await bind(tools, name, join(dist, 'programs', name));
}

/**
 * Builds the browser's module and lays out all that the page needs in www/dist. The folder is
 * filled aside and renamed, so that a server never serves half of a build.
 */
export async function web(tools) {
  if (!(await hasPackage(WEB_PACKAGE))) throw new Error(`this tree has no ${WEB_PACKAGE}`);
  const { status } = await run(
    'cargo',
    ['build', '--locked', '--package', WEB_PACKAGE, '--target', WASM, '--profile', 'web'],
    { env: wasmEnv(tools) },
  );
  if (status !== 0) throw new Error(`${WEB_PACKAGE} does not build for ${WASM}`);
  const aside = `${dist}.partial`;
  rmSync(aside, { recursive: true, force: true });
  mkdirSync(aside, { recursive: true });
  await bind(tools, WEB_PACKAGE.replaceAll('-', '_'), join(aside, 'pkg'));
  const sources = join(root, 'www');
  for (const file of readdirSync(sources)) {
    if (/\.(js|html|css|svg)$/.test(file)) copyFileSync(join(sources, file), join(aside, file));
  }
  if (existsSync(dist)) rmSync(dist, { recursive: true });
  renameSync(aside, dist);
}

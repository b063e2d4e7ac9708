// What a guest boots from: a first file system, which the kernel unpacks into memory, and a disk.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { targetFolder } from './cargo.mjs';
import { harness, scratch } from './paths.mjs';
import { output, run } from './process.mjs';

const DISK_BYTES = 4 * 2 ** 30;

const quoted = (word) => `'${word.replaceAll("'", `'\\''`)}'`;

/** Lays out both; `programs` are paths by the name that each has in the guest's /programs. */
export async function image(linux, parts, programs) {
  const folder = join(scratch(), 'guest');
  return {
    first: firstFiles(linux, join(folder, 'first')),
    disk: await disk(linux, parts, programs, join(folder, 'disk')),
  };
}

function folders(top, names) {
  for (const name of names) mkdirSync(join(top, name), { recursive: true });
}

function initAnd(busybox, top) {
  copyFileSync(join(busybox, 'busybox'), join(top, 'bin/busybox'));
  copyFileSync(join(harness, 'guest.sh'), join(top, 'init'));
  chmodSync(join(top, 'init'), 0o755);
}

/** The archive that the kernel unpacks. */
function firstFiles(linux, top) {
  folders(top, ['bin', 'dev', 'disk', 'modules']);
  initAnd(linux, top);
  for (const module of readdirSync(join(linux, 'modules'))) {
    copyFileSync(join(linux, 'modules', module), join(top, 'modules', module));
  }
  const names = readdirSync(top, { recursive: true }).join('\n');
  const { status, stdout } = spawnSync(join(linux, 'busybox'), ['cpio', '-o', '-H', 'newc'], {
    cwd: top,
    input: `${names}\n`,
    maxBuffer: DISK_BYTES,
  });
  if (status !== 0) throw new Error(`busybox cpio ended with ${status}`);
  const archive = `${top}.cpio`;
  writeFileSync(archive, stdout);
  return archive;
}

/** The disk with the programs, what they need, and room to work in. */
async function disk(linux, parts, programs, top) {
  folders(top, ['bin', 'data', 'dev', 'etc', 'proc', 'programs', 'root', 'sys', 'tmp', 'var']);
  initAnd(linux, top);
  chmodSync(join(top, 'data'), 0o1777);
  // Cargo's folder for the files of tests, which they were built to use.
  folders(top, [await targetFolder('tmp')]);
  writeFileSync(join(top, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nnobody:x:99:99::/:/bin/sh\n');
  writeFileSync(join(top, 'etc/group'), 'root:x:0:\nnobody:x:99:\n');
  const lines = parts.map(({ name, seconds, command }) =>
    ['part', quoted(name), seconds, ...command.map(quoted)].join(' '),
  );
  writeFileSync(join(top, 'plan'), `${lines.join('\n')}\n`);
  const libraries = new Set();
  for (const [name, path] of programs) {
    const copy = join(top, 'programs', name);
    await output('strip', ['--strip-debug', '-o', copy, path]);
    // Names of files, at the end of a line or after an arrow.
    const needed = await output('ldd', [path]);
    for (const [, file] of needed.matchAll(/(\/\S+) \(0x/g)) libraries.add(file);
  }
  for (const file of libraries) {
    mkdirSync(join(top, dirname(file)), { recursive: true });
    copyFileSync(file, join(top, file));
    chmodSync(join(top, file), 0o755);
  }
  const image = `${top}.img`;
  writeFileSync(image, '');
  truncateSync(image, DISK_BYTES);
  const made = ['-q', '-F', '-E', 'lazy_itable_init=0', '-d', top, image];
  const env = { PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  const { status } = await run('mkfs.ext4', made, { env });
  if (status !== 0) throw new Error(`mkfs.ext4 ended with ${status}`);
  return image;
}

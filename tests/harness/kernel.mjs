// `build.sh test kernel`: the native half on another kernel than this machine's, in an emulator.
//
// The programs are built here and run in a guest that has nothing else: Debian's kernel, a first
// file system in memory with the modules for the second, which is ext4 on a virtual disk and has
// the programs, their libraries, and busybox. What they say comes back by a virtual serial line.

import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Missing, WRONG } from './outcome.mjs';
import { say, since } from './progress.mjs';
import { scratch } from './paths.mjs';
import { run } from './process.mjs';
import { setup } from './setup.mjs';
import { image } from './image.mjs';
import { Guest, plan } from './guest.mjs';

/** What a whole run may take, the building included. */
const LIMIT_SECONDS = 39 * 60;
/** A boot that takes longer does not work; an emulated one takes ten, on a busy machine more. */
const BOOT_SECONDS = 180;
/** Bytes a second: what is in flight has to be so for a while, and this machine has it cached. */
const READS = 'throttling.bps-read=250000000';

/** Runs it all; gives the closing line and the status. */
export async function testKernel(version, { seed }, report) {
  const started = performance.now();
  const tools = await setup(['base', 'emulator']);
  const { parts, programs } = await plan(seed);
  const disk = await image(tools.LINUX, parts, programs);
  say(`built and laid out in ${since(started)} s`);
  const guest = new Guest(version, parts, (row) => report.rows.push(row));
  const accelerator = await boot(tools, disk, guest, started + LIMIT_SECONDS * 1000);
  guest.conclude();
  const { counts, release } = guest;
  report.extra = { seed, kernel: release, accelerator, parts: guest.ended, tests: counts };
  const of = (outcome) => report.rows.filter((row) => row.outcome === outcome).length;
  const [passed, failed, skipped] = ['passed', 'failed', 'skipped'].map(
    (outcome) => of(outcome) + counts[outcome],
  );
  const ok = failed === 0 && passed > 0;
  const emulated = accelerator === 'tcg' ? ', emulated' : '';
  return {
    status: ok ? 0 : WRONG,
    line:
      `test kernel ${version}: ${ok ? 'ok' : 'FAILED'} ${passed} passed, ${failed} failed, ` +
      `${skipped} skipped, Linux ${release}${emulated}`,
  };
}

/** By what a guest can run here, the best first. */
function accelerators() {
  // The device alone proves nothing: it may be there where the processor cannot do it.
  const can = /^flags\s*:.*\b(vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
  return can ? ['kvm', 'tcg'] : ['tcg'];
}

/** Listens where the emulator brings the guest's lines; `end` waits for the last one. */
async function port(path, onLine) {
  let ended = Promise.resolve();
  const server = createServer((socket) => {
    ended = once(createInterface({ input: socket }).on('line', onLine), 'close');
  });
  server.listen(path);
  await once(server, 'listening');
  const end = async () => {
    server.close();
    await ended;
  };
  return { end };
}

/** Boots the guest and hears it to its end; gives by what it ran. */
async function boot(tools, { disk, first }, guest, deadline) {
  for (const accelerator of accelerators()) {
    const console = join(scratch(), `console-${accelerator}.log`);
    const path = join(scratch(), `port-${accelerator}`);
    let child;
    let timer;
    let why;
    const stopAt = (time, reason) => {
      clearTimeout(timer);
      timer = setTimeout(
        () => {
          why = reason;
          child.kill('SIGKILL');
        },
        Math.max(time - performance.now(), 0),
      );
    };
    const args = [
      ...['-accel', accelerator, '-cpu', accelerator === 'kvm' ? 'host' : 'max'],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
      ...['-m', '3072', '-smp', '2'],
      ...['-kernel', join(tools.LINUX, 'vmlinuz'), '-initrd', first],
      ...['-append', 'console=ttyS0 panic=-1 quiet'],
      ...['-serial', `file:${console}`],
      // What the guest writes is lost with it: no need to have it on this machine's disk.
      ...['-drive', `file=${disk},format=raw,if=none,id=disk,cache=unsafe,${READS}`],
      ...['-device', 'virtio-blk-pci,drive=disk'],
      ...['-chardev', `socket,id=port,path=${path}`, '-device', 'virtio-serial-pci'],
      ...['-device', 'virtserialport,chardev=port,nr=1'],
    ];
    const hear = await port(path, (line) => {
      if (guest.release === undefined) stopAt(deadline, `no end within ${LIMIT_SECONDS} s`);
      guest.take(line);
    });
    const { status, talk } = await run(tools.QEMU, args, {
      quiet: true,
      onStart: (started) => {
        child = started;
        stopAt(performance.now() + BOOT_SECONDS * 1000, `no boot within ${BOOT_SECONDS} s`);
      },
    });
    clearTimeout(timer);
    await hear.end();
    if (guest.isDone && status === 0) return accelerator;
    say(`${accelerator}: ${why ?? `the emulator ended with ${status}`}`);
    talk.forEach(say);
    if (existsSync(console)) {
      say(readFileSync(console, 'utf8').split('\n').slice(-40).join('\n'));
    }
    if (guest.release === undefined) continue;
    guest.broken(why ?? `the emulator ended with ${status}`);
    return accelerator;
  }
  throw new Missing('an emulator that boots Linux here; what it said is above');
}

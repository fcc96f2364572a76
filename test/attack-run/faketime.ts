// A clock of the gate's own. Preloaded, as `faketime` itself does it: the compiled binary is linked
// to libc, whose clocks are the ones replaced. The monotonic one stays true, as it does on a host
// whose time is set.

import { readdirSync } from 'node:fs'

export function preload(
  settings: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  return {
    LD_PRELOAD: library(),
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    TZ: 'UTC',
    ...settings,
  }
}

function library(): string {
  for (const folder of readdirSync('/usr/lib')) {
    const file = `/usr/lib/${folder}/faketime/libfaketime.so.1`
    if (Bun.file(file).size > 0) return file
  }
  throw new Error('libfaketime.so.1 is nowhere under /usr/lib')
}

// When a reset may follow what was sent. It takes with it all that a kernel still holds: what our own
// side has not sent, and what the other side has not read. Linux, IPv4, both ends on this machine.

import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { eventually } from './sink.ts'

/** Once the program at the other end has read everything. */
export async function readByPeer({ localPort, remotePort }: Socket): Promise<void> {
  await eventually(async () => {
    const ends = readFileSync('/proc/net/tcp', 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
    const queues = (from: number | undefined, to: number | undefined): string | undefined =>
      ends.find(([, local = '', remote = '']) => port(local) === from && port(remote) === to)?.[4]
    const [ours, theirs] = [queues(localPort, remotePort), queues(remotePort, localPort)]
    // `sent but not acknowledged`:`not read`, in hexadecimal; an end that is gone holds nothing.
    return (ours ?? '0:0').startsWith('00000000') && (theirs ?? '0:00000000').endsWith(':00000000')
  })
}

const port = (address: string): number => Number.parseInt(address.split(':')[1] ?? '', 16)

// When a reset may follow what was sent. It takes with it all that a kernel still holds: what our own
// side has not sent, and what the other side has not read. Linux, IPv4, both ends on this machine.

import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { PATIENCE_MS } from './patience.ts'

const LOOK_EVERY_MS = 50

/** Once the program at the other end has read everything. */
export async function readByPeer({ localPort, remotePort }: Socket): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    // First: what was seen last may be older than what was sent.
    await Bun.sleep(LOOK_EVERY_MS)
    const queues = queuesBetween(localPort, remotePort)
    const theirs = queuesBetween(remotePort, localPort)
    // An end that is gone holds nothing.
    if ((queues?.unsent ?? 0) === 0 && (theirs?.unread ?? 0) === 0) return
    if (performance.now() > deadline) throw new Error('the other end never read everything')
  }
}

function queuesBetween(local: number | undefined, remote: number | undefined) {
  const ends = `${hex(local)} 0100007F:${hex(remote)} `
  const at = connections().indexOf(ends)
  if (at === -1) return undefined
  // `local remote state unsent:unread`, all in hexadecimal.
  const [unsent = '', unread = ''] = (connections().slice(at).split(' ')[3] ?? '').split(':')
  return { unsent: Number.parseInt(unsent, 16), unread: Number.parseInt(unread, 16) }
}

const hex = (port = 0): string => port.toString(16).toUpperCase().padStart(4, '0')

let seen = ''
let seenAt = -Infinity
/** Many may wait at once, and one look is enough for all of them. */
function connections(): string {
  if (performance.now() - seenAt >= LOOK_EVERY_MS / 2) {
    seen = readFileSync('/proc/net/tcp', 'utf8')
    seenAt = performance.now()
  }
  return seen
}

// Bytes as a network may bring them.

import type { Random } from '../support/random.ts'

/** The bytes in pieces: mostly small, sometimes empty, sometimes large. */
export function piecesOf(bytes: Uint8Array, random: Random): Uint8Array[] {
  const pieces: Uint8Array[] = []
  const most = random.next() < 0.3 ? 3 : random.next() < 0.5 ? 64 : 2048
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + random.int(most + 1))
    pieces.push(bytes.subarray(at, end))
    at = end
  }
  return pieces
}

// What a client of a WebSocket sends (RFC 6455 §5): frames of one message each, masked as §5.3 wants it.
// Bun's own client hides the answer to a handshake that was refused, and npm's `ws` is a shim over it.

import { randomFillSync } from 'node:crypto'

export const TEXT = 1
export const BINARY = 2
export const CLOSE = 8
export const PING = 9
export const PONG = 10
export type Opcode = typeof TEXT | typeof BINARY | typeof CLOSE | typeof PING | typeof PONG

export const FINAL = 0x80
const MASKED = 0x80
const MASK_BYTES = 4
const [LENGTH_16, LENGTH_64] = [126, 127]

/** Nobody may guess the next mask (§10.3); one call for many is cheaper. */
const masks = new Uint32Array(256)
let nextMask = masks.length

function newMask(): number {
  if (nextMask === masks.length) {
    randomFillSync(masks)
    nextMask = 0
  }
  const mask = masks[nextMask] ?? 0
  nextMask += 1
  return mask
}

export function maskedFrame(opcode: Opcode, payload: Uint8Array): Buffer {
  const bytes = payload.byteLength
  const lengthBytes = bytes < LENGTH_16 ? 0 : bytes < 65_536 ? 2 : 8
  const start = 2 + lengthBytes + MASK_BYTES
  // Masked by whole words, which have to be aligned.
  const offset = -start & 3
  const memory = new ArrayBuffer(offset + start + ((bytes + 3) & ~3))
  const frame = Buffer.from(memory, offset, start + bytes)
  frame[0] = FINAL | opcode
  frame[1] = MASKED | (lengthBytes === 0 ? bytes : lengthBytes === 2 ? LENGTH_16 : LENGTH_64)
  if (lengthBytes === 2) frame.writeUInt16BE(bytes, 2)
  if (lengthBytes === 8) frame.writeBigUInt64BE(BigInt(bytes), 2)
  frame.set(payload, start)
  const mask = newMask()
  new Uint32Array(memory, offset + start - MASK_BYTES, 1)[0] = mask
  const words = new Uint32Array(memory, offset + start)
  for (let at = 0; at < words.length; at += 1) words[at] = (words[at] ?? 0) ^ mask
  return frame
}

/** Without a code the frame is empty (§5.5.1). The reason is of 123 bytes at most. */
export function closePayload(code: number | undefined, reason: string): Buffer {
  if (code === undefined) return Buffer.alloc(0)
  const text = Buffer.from(reason)
  const payload = Buffer.alloc(2 + text.length)
  payload.writeUInt16BE(code, 0)
  text.copy(payload, 2)
  return payload
}

/** §7.4: what may stand in a close frame. */
export const isCloseCode = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) ||
  (code >= 3000 && code <= 4999)
